"""The figure of pass@k and maj@k, next to guessing."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from medrlvr.report.figures.style import COLOURS, PAGE, STYLE, grid

_PANELS = {"pass": "pass@k", "pass_reasoned": "pass@k, steps true", "majority": "maj@k"}
"""Measure -> panel's label."""


def draw_repeated(table: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw each measure against k, by any readable answer: one line per arm with its interval, and guessing.

    Args:
        table: records of `summarise_repeated`, with the benchmark.
        titles: benchmark -> title.
    """
    lenient = table[table["reading"] == "lenient_correct"]
    panels = {name: label for name, label in _PANELS.items() if (lenient["measure"] == name).any()}
    arms = list(dict.fromkeys(lenient["arm"]))
    with mpl.rc_context(STYLE):
        size = (1.8 * len(panels), 1.8 * len(panels))
        figure, axes = grid(len(panels), len(titles), PAGE, size, sharex=True, sharey=True)
        for column, (benchmark, title) in enumerate(titles.items()):
            here = lenient[lenient["benchmark"] == benchmark]
            axes[0][column].set_title(title, fontsize=8, loc="left")
            for axis, (measure, label) in zip(axes[:, column], panels.items(), strict=True):
                for arm, colour in zip(arms, COLOURS, strict=False):
                    rows = here[(here["arm"] == arm) & (here["measure"] == measure)]
                    if len(rows):
                        axis.plot(rows["k"], rows["value"], color=colour, marker="o", markersize=2.5, label=arm)
                        axis.fill_between(rows["k"], rows["low"], rows["high"], color=colour, alpha=0.2, linewidth=0)
                chance = here[(here["arm"] == arms[0]) & (here["measure"] == "guessing")]
                if measure != "majority":
                    axis.plot(chance["k"], chance["value"], color="#666666", linestyle=":", label="guessing")
                axis.set_ylabel("" if column else label)
                axis.set_xscale("log", base=2)
                axis.set_ylim(0, 1.02)
            axes[-1][column].set_xlabel("k")
        axes[0][0].legend(fontsize=7)
        return figure
