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


def accuracy_table(
    metrics: pd.DataFrame, sanity: Mapping[str, Any], paper: pd.DataFrame, design: Mapping[str, Any]
) -> pd.DataFrame:
    """Return the bars of the paper's Figure 3, ours beside its own: one row per benchmark and bar.

    Args:
        metrics: rows of `read_metrics`.
        sanity: of comparisons.json.
        paper: assets/paper/figure3.csv, in percent.
        design: of the experiment, as `evaluation.compare.Design` describes it.

    Returns:
        title, system, mode, seeds, accuracy and sd (means over seeds), low_seed, high_seed, paper_accuracy, paper_sd:
        fractions. Random guessing, the base in each mode that writes, every arm in the mode by which it is judged.
    """
    theirs = {(row["distribution"], row["system"], row["mode"]): row for row in paper.to_dict("records")}
    rows = []
    for benchmark, distribution in design["distributions"].items():
        group = metrics[metrics["benchmark"] == benchmark]
        guess = next(row["accuracy"] for row in sanity[benchmark] if row["policy"] == "uniform random")
        rows.append((benchmark, "random", "", [guess], [0.0], theirs.get((distribution, "random", ""))))
        for arm, modes in design["modes"].items():
            written = (
                [mode for mode in reversed(modes) if mode != design["constrained"]] if arm == "base" else modes[:1]
            )
            for mode in written:
                ours = group[group["model"].isin(design["models"][arm]) & (group["mode"] == mode)]
                role = {"base": "base", design["rlvr"]: "rlvr", design["sft"]: "sft"}.get(arm)
                same = theirs.get((distribution, role, mode))
                rows.append((benchmark, arm, mode, ours["accuracy"].tolist(), ours["accuracy_sd"].tolist(), same))
    titles = dict(zip(metrics["benchmark"], metrics["title"], strict=True))
    return pd.DataFrame(
        {
            "title": titles[benchmark],
            "system": system,
            "mode": mode,
            "seeds": len(accuracy),
            "accuracy": sum(accuracy) / len(accuracy),
            "low_seed": min(accuracy),
            "high_seed": max(accuracy),
            "sd": sum(deviation) / len(deviation),
            "paper_accuracy": same["accuracy"] / 100 if same else None,
            "paper_sd": same["sd"] / 100 if same else None,
        }
        for benchmark, system, mode, accuracy, deviation, same in rows
    )


def draw_accuracy(table: pd.DataFrame) -> Figure:
    """The paper's Figure 3, ours beside its own; error bars are the bootstrap's standard deviation, dots are seeds.

    Args:
        table: as `accuracy_table` returns it.
    """
    with mpl.rc_context(STYLE):
        titles = list(dict.fromkeys(table["title"]))
        figure, axes = plt.subplots(
            1, len(titles), figsize=(7.0, 2.7), layout="constrained", squeeze=False, sharey=True
        )
        for axis, title in zip(axes[0], titles, strict=True):
            _bars(axis, table[table["title"] == title])
            axis.set_title(title, fontsize=8, loc="left")
        axes[0][0].set_ylabel("accuracy, %")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
        return figure


def _bars(axis: Axes, group: pd.DataFrame) -> None:
    places = range(len(group))
    error: Any = {"elinewidth": 0.8, "capsize": 1.5, "ecolor": "#333333"}
    for offset, name, column, deviation, colour in (
        (-0.2, "the paper: Qwen2.5-3B, MedQA and MMLU-Pro health", "paper_accuracy", "paper_sd", "#C4C4C4"),
        (0.2, "this experiment", "accuracy", "sd", COLOURS[0]),
    ):
        at = [place + offset for place in places]
        bars = axis.bar(at, group[column], width=0.38, yerr=group[deviation], error_kw=error, color=colour, label=name)
        axis.bar_label(
            bars, ["" if value != value else f"{100 * value:.0f}" for value in group[column]], padding=1, fontsize=5.5
        )
    for place, row in zip(places, group.to_dict("records"), strict=True):
        if row["seeds"] > 1:
            axis.plot([place + 0.2] * 2, [row["low_seed"], row["high_seed"]], "_", color="#000000", markersize=5)
    modes = group["mode"].str.replace("chain_of_thought", "chain of\nthought")
    labels = [f"{system}\n{mode}" for system, mode in zip(group["system"], modes, strict=True)]
    axis.set_xticks(places, labels, fontsize=5.5)
    axis.set_ylim(0, 1.08)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.grid(axis="x", visible=False)


def save(figure: Figure, path: Path) -> None:
    """Write SVG without a date in it, so that equal figures are equal files."""
    with mpl.rc_context(STYLE):
        write_atomically(path, lambda part: figure.savefig(part, format="svg", metadata={"Date": None}))
    plt.close(figure)
