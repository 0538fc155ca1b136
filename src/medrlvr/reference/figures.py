"""Figures of the reference: accuracy of RLVR over updates, and the shortcuts of each arm."""

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medrlvr.dynamics.hack_monitor import INDICATORS
from medrlvr.reference.pooled import Pool
from medrlvr.reference.shortcuts import OCCURS, SHORTCUTS, highest, updates_by_arm
from medrlvr.report.figures.style import COLOURS, PAGE, STYLE, grid, save
from medrlvr.runtime.files import write_text

READINGS = {"accuracy": "required format", "lenient_accuracy": "any readable letter"}
"""Prefix of a column of updates.csv -> name of the reading."""


def draw_figures(found: Pool, folder: Path) -> Iterator[str]:
    """Write each figure as SVG, and its table as CSV, into a folder; yield the Markdown of each.

    Args:
        found: the pooled runs; without RLVR, no figure is drawn.
        folder: folder of the document that contains the Markdown, with the figures in its folder `figures`.
    """
    name = found.part.name
    curve = curve_table(found)
    if len(curve):
        seeds = curve["seed"].nunique()
        alt = (
            f"Accuracy of RLVR by update, by both readings; a thin line for each seed ({seeds}), thick lines for means"
        )
        yield _write(draw_curve(curve), curve, folder, f"{name}_accuracy", alt)
    shares = shortcut_table(found)
    if len(shares):
        limit = f"the line is {100 * OCCURS:.0f} %"
        alt = f"Highest share of each shortcut in any ten updates, by arm; bars are means, dots are seeds, {limit}"
        yield _write(draw_shortcuts(shares), shares, folder, f"{name}_shortcuts", alt)


def _write(figure: Figure, table: pd.DataFrame, folder: Path, name: str, alt: str) -> str:
    write_text(folder / f"figures/{name}.csv", table.to_csv(index=False, float_format="%.4g"))
    save(figure, folder / f"figures/{name}.svg", ["svg"])
    return f"![{alt}](figures/{name}.svg)\n\n{alt} ([table](figures/{name}.csv))."


def curve_table(found: Pool) -> pd.DataFrame:
    """Return the accuracy of the saved checkpoints of `rlvr`.

    Returns:
        title (of the test set), reading, seed, update, value (fraction); empty without pooled runs of `rlvr`.
    """
    rows = []
    for updates in updates_by_arm(found).get("rlvr", []):
        for name, benchmark in found.part.experiment.benchmarks.items():
            for prefix, reading in READINGS.items():
                if f"{prefix}_{name}" in updates:
                    part = updates[["seed", "update"]].assign(
                        title=benchmark.title, reading=reading, value=updates[f"{prefix}_{name}"]
                    )
                    rows.append(part.dropna(subset="value"))
    columns = ["title", "reading", "seed", "update", "value"]
    return pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)


def draw_curve(table: pd.DataFrame) -> Figure:
    """Draw one panel per test set: a thin line for each seed, a thick line for the mean of the seeds."""
    titles = list(dict.fromkeys(table["title"]))
    with mpl.rc_context(STYLE):
        height = 2.2 * -(-len(titles) // 2)
        figure, axes = grid(-(-len(titles) // 2), 2, PAGE, (height, height), sharex=True, sharey=True)
        for axis, title in zip(axes.flat, titles, strict=False):
            for colour, (reading, lines) in zip(
                COLOURS, table[table["title"] == title].groupby("reading", sort=False), strict=False
            ):
                for _, seed in lines.groupby("seed"):
                    axis.plot(seed["update"], seed["value"], color=colour, linewidth=0.5, alpha=0.5)
                mean = lines.groupby("update")["value"].mean()
                axis.plot(mean.index, mean, color=colour, linewidth=2, label=reading)
            axis.set_title(title, fontsize=8, loc="left")
            axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        for axis in axes.flat[len(titles) :]:
            axis.set_visible(False)
        axes[0][0].set_ylim(0, 1)
        axes[0][0].legend(loc="best", fontsize=7)
        figure.supxlabel("update", fontsize=8)
        figure.supylabel("accuracy, %", fontsize=8)
        return figure


def shortcut_table(found: Pool) -> pd.DataFrame:
    """Return the highest share of each shortcut in any ten updates: arm, seed, shortcut, value (fraction)."""
    rows = [
        {"arm": arm, "seed": int(one["seed"].iloc[0]), "shortcut": name, "value": highest(one, name)}
        for arm, updates in updates_by_arm(found).items()
        for one in updates
        for name in SHORTCUTS
        if name in one
    ]
    return pd.DataFrame(rows, columns=["arm", "seed", "shortcut", "value"])


def draw_shortcuts(table: pd.DataFrame) -> Figure:
    """Draw one panel per shortcut: a bar for the mean of each arm, a dot for each seed."""
    shortcuts, arms = (list(dict.fromkeys(table[name])) for name in ("shortcut", "arm"))
    with mpl.rc_context(STYLE):
        rows = -(-len(shortcuts) // 2)
        height = rows * (0.8 + 0.17 * len(arms))
        figure, axes = grid(rows, 2, PAGE, (height, height), sharex=True, sharey=True)
        for axis, shortcut in zip(axes.flat, shortcuts, strict=False):
            part = table[table["shortcut"] == shortcut]
            means = part.groupby("arm")["value"].mean().reindex(arms)
            axis.barh(range(len(arms)), means, color=COLOURS[5])
            axis.plot(part["value"], part["arm"].map(arms.index), "o", color=COLOURS[6], markersize=2.5)
            axis.axvline(OCCURS, color=COLOURS[1], linewidth=0.8)
            axis.set_title(INDICATORS[shortcut], fontsize=7, loc="left")
            axis.tick_params(labelbottom=True)
            axis.xaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
        for axis in axes.flat[len(shortcuts) :]:
            axis.set_visible(False)
        axes[0][0].set_yticks(range(len(arms)), arms, fontsize=7)
        axes[0][0].invert_yaxis()
        axes[0][0].set_xlim(0, 1)
        figure.supxlabel("share of responses with a valid format, %", fontsize=8)
        return figure
