"""The ROC figure of the bench."""

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from medrlvr.report.figures.style import COLOURS, COLUMN, LINES, STYLE, grid


def draw_roc(points: pd.DataFrame) -> Figure:
    """Draw recall against false alarms, one line for each detector.

    Args:
        points: detector, false_alarms and recall (fractions), in the order of the line.
    """
    with mpl.rc_context(STYLE):
        figure, axes = grid(1, 1, COLUMN, (3.0, 3.0))
        axis = axes[0][0]
        axis.axvline(0.05, color="#999999", linewidth=0.8, linestyle="--")
        axis.axhline(0.9, color="#999999", linewidth=0.8, linestyle="--")
        for colour, dashes, (name, line) in zip(COLOURS, LINES, points.groupby("detector", sort=False), strict=False):
            axis.plot(line["false_alarms"], line["recall"], color=colour, linestyle=dashes, label=name)
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlabel("false alarms, share of clean runs")
        axis.set_ylabel("recall, share of exploited runs")
        axis.legend(loc="lower right", fontsize=7)
        return figure
