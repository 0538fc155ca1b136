"""The figure of the steps of RLVR's gain, with the control arms below them."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medrlvr.report.figures.style import COLOURS, PAGE, STYLE, grid

_TOTALS = {"gain": "gain, required format", "least": "least of the rest"}
_ROLES = {"format_only": "format only", "wrong_label": "wrong label", "rft": "own responses (rft)"}
_BAR, _TOTAL, _ARM = COLOURS[0], "#666666", COLOURS[1]


def draw_waterfall(steps: pd.DataFrame, arms: pd.DataFrame, titles: Mapping[str, str], width: float = PAGE) -> Figure:
    """Draw one panel per benchmark: each step as a bar that starts where the one before ends, with its 95 % interval.

    Below the steps are their sum, the least flattering rest, and each control arm's difference from the base.

    Args:
        steps, arms: records of `measure_waterfall`, with the benchmark.
        titles: benchmark -> title.
        width: `PAGE` or `COLUMN`.
    """
    with mpl.rc_context(STYLE):
        lines = steps.groupby("benchmark").size().max() + (arms.groupby("benchmark").size().max() if len(arms) else 0)
        heights = (0.9 + 0.2 * lines, (0.9 + 0.2 * lines) * len(titles))
        figure, axes = grid(1, len(titles), width, heights, sharex=True, sharey=True)
        for axis, (benchmark, title) in zip(axes.flat, titles.items(), strict=True):
            shown = arms[arms["benchmark"] == benchmark] if len(arms) else arms
            _panel(axis, steps[steps["benchmark"] == benchmark], shown)
            axis.set_title(title, fontsize=8, loc="left")
            axis.set_xlabel("points")
        return figure


def _panel(axis: Axes, steps: pd.DataFrame, arms: pd.DataFrame) -> None:
    labels: list[str] = []
    start = 0.0
    for row in steps[~steps["step"].isin(["gain", "gain_any", "least"])].to_dict("records"):
        _bar(axis, len(labels), start, row, _BAR)
        start += row["value"]
        labels.append(row["name"])
    for step, label in _TOTALS.items():
        _bar(axis, len(labels), 0.0, steps[steps["step"] == step].iloc[0].to_dict(), _TOTAL)
        labels.append(label)
    for row in arms.to_dict("records"):
        _bar(axis, len(labels), 0.0, row, _ARM)
        labels.append(f"arm: {_ROLES.get(row['role'], row['role'])}")
    axis.axvline(0, color="black", linewidth=0.6)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)


def _bar(axis: Axes, line: int, start: float, row: Mapping[Any, Any], colour: str) -> None:
    left, value = 100 * start, 100 * row["value"]
    axis.barh(line, value, left=left, height=0.7, color=colour)
    end = left + value
    below, above = 100 * (row["value"] - row["low"]), 100 * (row["high"] - row["value"])
    axis.errorbar(end, line, xerr=[[max(below, 0)], [max(above, 0)]], color="black", linewidth=0.8, capsize=1.5)
