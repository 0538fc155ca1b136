"""The accuracy figure, after the paper's Figure 3."""

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medrlvr.config.design import ComparisonDesign
from medrlvr.report.figures.style import COLOURS, PAGE, STYLE, grid


def accuracy_table(
    metrics: pd.DataFrame, sanity: Mapping[str, Any], paper: pd.DataFrame, design: ComparisonDesign
) -> pd.DataFrame:
    """Return the bars of Figure 3, our values next to the paper's: one row per benchmark and bar.

    The rows are random guessing, the base model in each mode that generates text, and every arm in its primary mode.

    Args:
        metrics: rows of `read_metrics`.
        sanity: the key `sanity` of comparisons.json.
        paper: assets/paper/figure3.csv, in percent.
        design: the experiment's comparison design.

    Returns:
        title, system, mode, seeds; fractions: accuracy and sd (means over seeds), low_seed, high_seed, paper_accuracy,
        paper_sd.
    """
    theirs = {(row["distribution"], row["system"], row["mode"]): row for row in paper.to_dict("records")}
    rows = []
    for benchmark, distribution in design.distributions.items():
        group = metrics[metrics["benchmark"] == benchmark]
        guess = next(row["accuracy"] for row in sanity[benchmark] if row["policy"] == "uniform random")
        rows.append((benchmark, "random", "", [guess], [0.0], theirs.get((distribution, "random", ""))))
        for arm, modes in design.modes.items():
            written = [mode for mode in reversed(modes) if mode != design.loglikelihood] if arm == "base" else modes[:1]
            for mode in written:
                ours = group[group["model"].isin(design.models[arm]) & (group["mode"] == mode)]
                role = {"base": "base", design.rlvr: "rlvr", design.sft: "sft"}.get(arm)
                same = theirs.get((distribution, role, mode))
                rows.append((benchmark, arm, mode, ours["accuracy"].tolist(), ours["accuracy_stderr"].tolist(), same))
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


def draw_accuracy(table: pd.DataFrame, width: float = PAGE) -> Figure:
    """Draw Figure 3, our bars next to the paper's. Error bars are bootstrap standard deviations; marks are seeds.

    Args:
        table: as `accuracy_table` returns it.
        width: `PAGE` or `COLUMN`.
    """
    with mpl.rc_context(STYLE):
        titles = list(dict.fromkeys(table["title"]))
        figure, axes = grid(1, len(titles), width, (2.7, 2.3 * len(titles)), sharey=True)
        for axis, title in zip(axes[0], titles, strict=True):
            _bars(axis, table[table["title"] == title])
            axis.set_title(title, fontsize=8, loc="left")
        axes[0][0].set_ylabel("accuracy, %")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2 if width == PAGE else 1)
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
            bars, ["" if value != value else f"{100 * value:.0f}" for value in group[column]], padding=1, fontsize=6.5
        )
    for place, row in zip(places, group.to_dict("records"), strict=True):
        if row["seeds"] > 1:
            axis.plot([place + 0.2] * 2, [row["low_seed"], row["high_seed"]], "_", color="#000000", markersize=5)
    modes = group["mode"].str.replace("chain_of_thought", "chain of\nthought")
    labels = [f"{system}\n{mode}" for system, mode in zip(group["system"], modes, strict=True)]
    axis.set_xticks(places, labels, fontsize=6.5)
    axis.set_ylim(0, 1.08)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.grid(axis="x", visible=False)
