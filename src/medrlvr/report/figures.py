"""The figures: after the paper's Figure 2 (dynamics) and Figure 3 (accuracy), each drawn from a table of its own."""

from collections.abc import Mapping
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from medrlvr.files import write_atomically

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colour-blind safe palette."""

LINES = ("-", "--", ":", "-.")

STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.fonttype": "none",
    # A fixed salt keeps the ids in the file, and so its bytes, the same from run to run.
    "svg.hashsalt": "medrlvr",
}


def draw_dynamics(dynamics: pd.DataFrame) -> Figure:
    """Accuracy, format and response length against the update; a colour for each, a line style for each arm.

    Args:
        dynamics: rows of `tabulate` with the columns arm and seed in front.
    """
    panels: list[tuple[str, Mapping[str, str], tuple[float, float] | None]] = [
        ("fraction of sampled responses", {"correct": "right letter", "strict_format": "strict format"}, (0, 1.02)),
        ("characters", {"chars": "response", "chars_before_think": "of it before <think>"}, None),
    ]
    return _lines(dynamics, panels)


def draw_training(dynamics: pd.DataFrame) -> Figure:
    """Reward, KL against the base, value loss and the distance between engine and trainer, against the update."""
    panels: list[tuple[str, Mapping[str, str], tuple[float, float] | None]] = [
        (label, {column: label}, None)
        for column, label in (
            ("reward", "mean reward"),
            ("kl", "KL to the base, per token"),
            ("value_loss", "value loss"),
            ("engine_kl", "KL between engine and trainer"),
        )
        if column in dynamics
    ]
    return _lines(dynamics, panels)


def _lines(dynamics: pd.DataFrame, panels: list[tuple[str, Mapping[str, str], tuple[float, float] | None]]) -> Figure:
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(panels), figsize=(7.0, 2.4), layout="constrained", squeeze=False)
        for axis, (label, columns, limits) in zip(axes[0], panels, strict=True):
            styles = dict(zip(dict.fromkeys(dynamics["arm"]), cycle(LINES), strict=False))
            for colour, (column, name) in zip(COLOURS, columns.items(), strict=False):
                for (arm, _), run in dynamics.groupby(["arm", "seed"], sort=True):
                    axis.plot(run["update"], run[column], color=colour, linestyle=styles[arm], alpha=0.8)
                for arm, style in styles.items():
                    label_of_arm = name if len(styles) == 1 else f"{name}, {arm}"
                    axis.plot([], [], color=colour, linestyle=style, label=label_of_arm)
            axis.set(xlabel="update", ylabel=label, xlim=(0, None), ylim=limits or (None, None))
            if len(columns) * len(styles) > 1:
                axis.legend(loc="best")
        return figure


def draw_accuracy(metrics: pd.DataFrame) -> Figure:
    """Accuracy of every model and mode, one panel per benchmark; error bars are the bootstrap's standard deviation.

    Args:
        metrics: rows of `summarise` with the columns model and title (of the benchmark) in front.
    """
    with mpl.rc_context(STYLE):
        titles = list(dict.fromkeys(metrics["title"]))
        figure, axes = plt.subplots(
            1, len(titles), figsize=(7.0, 2.4), layout="constrained", squeeze=False, sharey=True
        )
        for axis, title in zip(axes[0], titles, strict=True):
            _bars(axis, metrics[metrics["title"] == title])
            axis.set_title(title, fontsize=8, loc="left")
        axes[0][0].set_ylabel("accuracy, %")
        return figure


def _bars(axis: Axes, group: pd.DataFrame) -> None:
    modes = group["mode"].str.replace("chain_of_thought", "chain of\nthought")
    labels = [f"{model}\n{mode}" for model, mode in zip(group["model"], modes, strict=True)]
    arms = [model.split("/")[0] for model in group["model"]]
    colours = dict(zip(dict.fromkeys(arms), COLOURS, strict=False))
    bars = axis.bar(
        range(len(group)),
        group["accuracy"],
        yerr=group["accuracy_sd"],
        color=[colours[arm] for arm in arms],
        width=0.7,
        error_kw={"linewidth": 0.8, "capsize": 2},
    )
    axis.bar_label(bars, [f"{100 * value:.0f}" for value in group["accuracy"]], padding=2, fontsize=7)
    axis.axhline(group["chance"].mean(), color="#666666", linewidth=0.8, linestyle=":")
    axis.set_xticks(range(len(group)), labels, fontsize=6)
    axis.set_ylim(0, 1.08)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.grid(axis="x", visible=False)


def save(figure: Figure, path: Path) -> None:
    """Write SVG without a date in it, so that equal figures are equal files."""
    with mpl.rc_context(STYLE):
        write_atomically(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
    plt.close(figure)
