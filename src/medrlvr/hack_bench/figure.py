"""The ROC figure of the bench."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from medrlvr.report.figures.style import COLOURS, COLUMN, LINES, STYLE, grid

Share = tuple[float, float, float]
"""A fraction, with the lower and the upper limit of its 95 % interval."""


def draw_roc(points: pd.DataFrame, at_threshold: Mapping[str, tuple[Share, Share]]) -> Figure:
    """Draw recall against false alarms, one line for each detector.

    Args:
        points: detector, false_alarms and recall (fractions), in the order of the line.
        at_threshold: detector -> false alarms and recall at its threshold; a detector without a threshold has no point.
    """
    with mpl.rc_context(STYLE):
        figure, axes = grid(1, 1, COLUMN, (3.0, 3.0))
        axis = axes[0][0]
        axis.axvline(0.05, color="#999999", linewidth=0.8, linestyle="--")
        axis.axhline(0.9, color="#999999", linewidth=0.8, linestyle="--")
        for colour, dashes, name in zip(COLOURS, LINES, points["detector"].unique(), strict=False):
            line = points[points["detector"] == name]
            axis.plot(line["false_alarms"], line["recall"], color=colour, linestyle=dashes, label=name)
            if name in at_threshold:
                (x, *x_limits), (y, *y_limits) = at_threshold[name]
                x_errors, y_errors = [[abs(limit - x)] for limit in x_limits], [[abs(limit - y)] for limit in y_limits]
                axis.errorbar(x, y, y_errors, x_errors, "o", color=colour, markersize=4, elinewidth=0.8, capsize=3)
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlabel("false alarms, share of clean runs")
        axis.set_ylabel("recall, share of exploited runs")
        axis.legend(loc="lower right", fontsize=7)
        return figure
