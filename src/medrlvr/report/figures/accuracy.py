"""The accuracy figure, after the paper's Figure 3."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from medrlvr.config.design import ComparisonDesign
from medrlvr.report.figures.style import COLOURS, PAGE, STYLE, grid, in_order
from medrlvr.report.metrics_table import accuracy_interval
from medrlvr.report.overview import arm_label, guessing, mode_words

NORMAL_95 = 1.96
"""Half the width of a 95 % interval, in standard deviations. The paper gives only standard deviations."""

OURS = "this experiment, required format"

BAR_NAME = 7
"""Maximum characters of a line under a bar, if its words are not longer."""

DIFFERENT = 0.02
"""Smallest difference between the two readings at which the figure writes both values."""


def accuracy_table(
    metrics: pd.DataFrame, comparisons: Mapping[str, Any], paper: pd.DataFrame, design: ComparisonDesign
) -> pd.DataFrame:
    """Return the bars of the figure, ours and the paper's: one row per bar.

    Our systems are random guessing, if all questions have options, the base model in each mode that generates text, and
    every arm in its primary mode.
    In the paper's experiment, a bar of the paper has the title of our benchmark, so that both are in one panel.

    Args:
        metrics: rows of `read_metrics`.
        comparisons: comparisons.json.
        paper: assets/paper/figure3.csv, in percent.
        design: the experiment's comparison design.

    Returns:
        source (`OURS` or the paper's model), title, system, label (its name for readers), mode, seeds; fractions:
        accuracy, low and high (95 % interval: over questions with one seed, over seeds with three or more, otherwise
        missing), low_seed, high_seed and any_letter (accuracy by any readable answer, unknown for the paper).
    """
    rows = []
    titles = dict(zip(metrics["benchmark"], metrics["title"], strict=True))
    for benchmark in design.distributions:
        guess = guessing(comparisons, benchmark)
        if guess is not None:
            row = {"system": "random", "label": "random", "mode": "", "accuracy": guess}
            rows.append({"title": titles[benchmark], **row})
        for row in comparisons["arms"]:
            if row["benchmark"] == benchmark and row["mode"] in _shown_modes(row["arm"], design):
                rows.append({"title": titles[benchmark], **_our_bar(row, metrics, design)})
    ours = pd.DataFrame(rows).assign(source=OURS)
    return pd.concat([ours, _papers_bars(paper, titles, design)], ignore_index=True)


def _shown_modes(arm: str, design: ComparisonDesign) -> list[str]:
    modes = design.modes[arm]
    return [mode for mode in modes if mode != design.loglikelihood] if arm == "base" else list(modes[:1])


def _our_bar(row: Mapping[str, Any], metrics: pd.DataFrame, design: ComparisonDesign) -> dict[str, Any]:
    own = metrics[metrics["model"].isin(design.models[row["arm"]])]
    own = own[(own["mode"] == row["mode"]) & (own["benchmark"] == row["benchmark"])]
    low, high = accuracy_interval(own, row["over_seeds"])
    return {
        "system": row["arm"],
        "label": arm_label(row["arm"], design),
        "mode": row["mode"],
        "seeds": len(own),
        "accuracy": row["accuracy"],
        "low": low,
        "high": high,
        "low_seed": row["lowest"],
        "high_seed": row["highest"],
        "any_letter": own["lenient_accuracy"].mean(),
    }


def _papers_bars(paper: pd.DataFrame, titles: Mapping[str, str], design: ComparisonDesign) -> pd.DataFrame:
    benchmarks = {distribution: titles[name] for name, distribution in design.distributions.items()}
    accuracy, width = paper["accuracy"] / 100, NORMAL_95 * paper["sd"] / 100
    return pd.DataFrame(
        {
            "source": "the paper, Qwen2.5-3B",
            "title": paper["distribution"].map(benchmarks) if design.papers else "The paper: " + paper["benchmark"],
            "system": paper["system"],
            "label": paper["system"].replace({"sft": "SFT", "rlvr": "RLVR"}),
            "mode": paper["mode"],
            "accuracy": accuracy,
            "low": accuracy - width,
            "high": accuracy + width,
        }
    )


def draw_accuracy(table: pd.DataFrame, width: float = PAGE) -> Figure:
    """Draw the figure: bars with 95 % intervals (required format), circles (any readable answer), marks (seeds).

    Args:
        table: as `accuracy_table` returns it.
        width: `PAGE` or `COLUMN`.
    """
    with mpl.rc_context(STYLE):
        titles = list(dict.fromkeys(table["title"]))
        columns = min(len(titles), 3)
        rows = -(-len(titles) // columns)
        figure, axes = grid(rows, columns, width, (2.1 * rows + 0.4, 2.1 * rows * columns))
        shown = in_order(axes, width)
        for axis, title in zip(shown, titles, strict=False):
            _panel(axis, table[table["title"] == title])
            axis.set_title(title, fontsize=8, loc="left")
        for axis in shown[len(titles) :]:
            axis.remove()
        for axis in shown[: len(titles) : columns] if width == PAGE else shown[: len(titles)]:
            axis.set_ylabel("accuracy, %")
        entries = {
            label: handle for axis in shown for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=3 if width == PAGE else 1)
        return figure


def _panel(axis: Axes, group: pd.DataFrame) -> None:
    """Draw one panel: bars of two sources are next to each other."""
    sources = list(dict.fromkeys(group["source"]))[::-1]
    names = list(dict.fromkeys(zip(group["system"], group["mode"], strict=True)))
    for number, source in enumerate(sources):
        own = group[group["source"] == source]
        width = 0.76 / len(sources)
        places = [names.index(name) for name in zip(own["system"], own["mode"], strict=True)]
        at = [place + (number - (len(sources) - 1) / 2) * (width + 0.02) for place in places]
        colour = COLOURS[0] if source == OURS else "#C4C4C4"
        errors = [(own["accuracy"] - own["low"]).fillna(0), (own["high"] - own["accuracy"]).fillna(0)]
        style: Any = {"elinewidth": 0.8, "capsize": 1.5, "ecolor": "#333333"}
        axis.bar(at, own["accuracy"], width=width, yerr=errors, error_kw=style, color=colour, label=source)
        for place, row in zip(at, own.to_dict("records"), strict=True):
            _value(axis, place, row["accuracy"], row["high"])
            if abs(row["any_letter"] - row["accuracy"]) > DIFFERENT:
                _value(axis, place, row["any_letter"], row["any_letter"])
            if row["seeds"] > 1:
                axis.plot([place] * 2, [row["low_seed"], row["high_seed"]], "_", color="#000000", markersize=5)
        if own["any_letter"].notna().any():
            axis.plot(at, own["any_letter"], "o", mfc="white", mec=COLOURS[1], ms=4, label="any readable answer")
    labels = dict(zip(group["system"], group["label"], strict=True))
    axis.set_xticks(range(len(names)), [_bar_name(labels[system], mode) for system, mode in names], fontsize=6.5)
    axis.set_ylim(0, 1.12)
    axis.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axis.grid(axis="x", visible=False)


def _value(axis: Axes, place: float, value: float, top: float) -> None:
    """Write a value in percent above the end of its interval, if it has one."""
    end = value if top != top else top
    axis.annotate(f"{100 * value:.0f}", (place, end), (0, 3), textcoords="offset points", ha="center", fontsize=6.5)


def _bar_name(label: str, mode: str) -> str:
    short = {"chain_of_thought": "CoT"}.get(mode, mode_words(mode))
    return fill(f"{label.replace('development', 'dev.')} {short}", BAR_NAME)
