"""The figure of the answers' sensitivity to the chain of thought, over updates."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from medrlvr.report.figures.style import (
    COLOURS,
    LINES,
    PAGE,
    STAGE_COLOURS,
    STAGE_NAMES,
    STYLE,
    draw_band,
    draw_stages,
    grid,
)

_PANELS = {
    "answers kept, share": {
        "kept_emptied": "emptied",
        "kept_shuffled": "shuffled",
        "kept_swapped": "swapped",
        "kept_replaced": "finding replaced",
    },
    "of the sentences": {"area": "area", "position": "position"},
}
"""Panel's label -> measure -> line's label."""


def draw_sensitivity(table: pd.DataFrame, bands: pd.DataFrame, titles: Mapping[str, str]) -> Figure:
    """Draw the measures over updates, one column per benchmark, under the stages of the runs.

    Lines are means over seeds with their range. A checkpoint has no point if it has no block to change. A text names
    the seeds without such a block at any checkpoint; the lines are those of the other seeds.

    Args:
        table: records of `summarise_measures`, with update and seed.
        bands: as `bands_of` returns them.
        titles: benchmark -> title.
    """
    shown = [name for name in titles if name in set(table["benchmark"])] or list(titles)[:1]
    # A band contains the responses of an update, which the model of the previous update sampled.
    stages = bands.assign(series=bands["stage"], update=bands["first"] - 1, until=bands["last"] - 1)
    with mpl.rc_context(STYLE):
        figure, axes = grid(3, len(shown), PAGE, (4.4, 4.4), height_ratios=(0.25, 1, 1), sharex="col", sharey="row")
        for column, name in enumerate(shown):
            rows = table[table["benchmark"] == name]
            axes[0][column].set_title(titles[name], fontsize=8, loc="left")
            draw_stages(axes[0][column], stages, 1)
            for axis, lines in zip(axes[1:, column], _PANELS.values(), strict=True):
                for index, (measure, label) in enumerate(lines.items()):
                    draw_band(axis, rows[rows["measure"] == measure], COLOURS[index], LINES[index], label, "o")
                axis.set_ylim(-0.02, 1.02)
            axes[1][column].text(0.5, 0.5, _without_blocks(rows), transform=axes[1][column].transAxes, ha="center")
            axes[2][column].set_xlabel("update")
        for axis, (label, _) in zip(axes[1:, 0], _PANELS.items(), strict=True):
            axis.set_ylabel(label)
            axis.legend(fontsize=7)
        seen = set(stages["series"])
        handles = [Patch(color=STAGE_COLOURS[one], label=STAGE_NAMES[one]) for one in STAGE_NAMES if one in seen]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        return figure


def _without_blocks(rows: pd.DataFrame) -> str:
    """Return which seeds have no think block to change at any checkpoint; an empty text if all have one."""
    used = rows[rows["measure"] == "used"].groupby("seed")["value"].max()
    absent = [str(seed) for seed in used.index[used == 0]]
    if not absent:
        return ""
    where = "" if len(absent) == len(used) else f", seed{'s' * (len(absent) > 1)} {', '.join(absent)}"
    return f"no think block to change{where}"
