"""Colours, sizes and shared drawing functions of all figures."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medrlvr.runtime.atomic import write_atomically

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colour-blind safe palette."""

LINES: Any = ("-", "--", (0, (1.4, 0.9)), "-.")

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
    "pdf.fonttype": 42,
    # A fixed salt gives the same ids, and so the same bytes, in every run.
    "svg.hashsalt": "medrlvr",
}


PAGE, COLUMN = 7.0, 3.4
"""Width in inches of a full page of text, and of one of two columns, in which panels are below each other."""

SEED_LABELS = 3
"""Largest number of labels next to the strips of stages; with more seeds, only every n-th seed has a label."""

STAGE_NAMES = {
    "format_failure": "Format failure",
    "verbose_formatter": "Verbose formatter",
    "concise_structurer": "Concise structurer",
    "direct_answer_hacker": "Direct answer hacker",
    "step_by_step_exploit": "Step-by-step exploit",
    "reintegrated_reasoning": "Reintegrated reasoning",
}
"""The paper's names (Figure 2). The paper has three names for the first stage; this one is from section 4.2.1."""

STAGE_COLOURS = dict(zip(STAGE_NAMES, ("#999999", "#E69F00", "#56B4E9", "#D55E00", "#CC79A7", "#009E73"), strict=True))


def grid(rows: int, columns: int, width: float, heights: tuple[float, float], **shared: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes, rows by columns. In a figure of `COLUMN` width, all axes are below each other.

    Args:
        rows: number of rows.
        columns: number of columns.
        width: `PAGE` or `COLUMN`.
        heights: heights in inches, for `PAGE` and for `COLUMN`.
        shared: further arguments of `plt.subplots`; with `COLUMN`, only height_ratios is used.
    """
    if width == PAGE:
        return plt.subplots(rows, columns, figsize=(width, heights[0]), layout="constrained", squeeze=False, **shared)
    ratios = {"height_ratios": shared["height_ratios"] * columns} if "height_ratios" in shared else {}
    size = (width, heights[1])
    figure, axes = plt.subplots(rows * columns, 1, figsize=size, layout="constrained", squeeze=False, **ratios)
    return figure, axes.reshape(columns, rows).T


def in_order(axes: Any, width: float) -> list[Axes]:
    """Return the panels of a `grid` in reading order: row by row, or from the top if they are below each other."""
    return [axis for line in (axes if width == PAGE else axes.T) for axis in line]


def draw_stages(axis: Axes, bands: pd.DataFrame, grid: int) -> None:
    """Draw the stages of each seed as one strip, the first seed on top.

    Args:
        bands: seed (missing for a run without one), series (the stage), update and until (first and last update).
        grid: number of updates between two labelled updates.
    """
    seeds = bands["seed"].fillna(0).astype(int)
    for row, (_, own) in enumerate(bands.groupby(seeds)):
        for band in own.to_dict("records"):
            # Extend each band by half a grid step on both sides, so that neighbours touch.
            first, length = band["update"] - grid / 2, band["until"] - band["update"] + grid
            axis.barh(-row, length, left=first, height=0.8, color=STAGE_COLOURS[band["series"]])
    labels = [f"seed {seed}" if seed else "" for seed in sorted(seeds.unique())]
    step = max(1, math.ceil(len(labels) / SEED_LABELS))
    axis.set_yticks([-row for row in range(0, len(labels), step)], labels[::step])
    axis.grid(visible=False)
    axis.tick_params(length=0)


def draw_band(
    axis: Axes, lines: pd.DataFrame, colour: str, style: str, label: str, marker: str = "", width: float = 1.4
) -> None:
    """Draw the mean over seeds as a line and, with several seeds, their range as a band.

    A label that begins with "_" is not in the legend. `width` is that of the line, in points.
    """
    groups = lines.groupby("update")["value"]
    if "seed" in lines:
        # Leave out updates at which some seeds have no value: the mean would jump to the other seeds.
        groups = lines[groups.transform("size") == lines["seed"].fillna(0).nunique()].groupby("update")["value"]
    mean = groups.mean()
    axis.plot(
        mean.index, mean, color=colour, linestyle=style, marker=marker, markersize=2.5, linewidth=width, label=label
    )
    if (groups.size() > 1).any():
        axis.fill_between(mean.index, groups.min(), groups.max(), color=colour, alpha=0.2, linewidth=0)


_DATES = {"svg": "Date", "pdf": "CreationDate"}


def save(figure: Figure, path: Path, suffixes: Sequence[str] = ("svg", "pdf")) -> None:
    """Write a figure without a date, so that equal figures give equal files; a PDF contains its fonts."""
    with mpl.rc_context(STYLE):
        for suffix in suffixes:
            drawn = partial(figure.savefig, format=suffix, metadata={_DATES[suffix]: None})
            write_atomically(path.with_suffix(f".{suffix}"), drawn)
    plt.close(figure)
