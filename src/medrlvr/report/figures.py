"""The figures: after the paper's Figure 2 (dynamics) and Figure 3 (accuracy), each drawn from a table of its own."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd

from medrlvr.files import write_atomically

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

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
    # A fixed salt keeps the ids in the file, and so its bytes, the same from run to run.
    "svg.hashsalt": "medrlvr",
}


PAGE, COLUMN = 7.0, 3.4
"""Inches: the width of a page's text, and of one of its two columns, where panels stand below each other."""

STAGE_NAMES = {
    "format_failure": "Format failure",
    "verbose_formatter": "Verbose formatter",
    "concise_structurer": "Concise structurer",
    "direct_answer_hacker": "Direct answer hacker",
    "step_by_step_exploit": "Step-by-step exploit",
    "reintegrated_reasoning": "Reintegrated reasoning",
}
"""As the paper calls them (Figure 2; of its three names for the first that of section 4.2.1)."""

STAGE_COLOURS = dict(zip(STAGE_NAMES, ("#999999", "#E69F00", "#56B4E9", "#D55E00", "#CC79A7", "#009E73"), strict=True))

PAPERS = "the paper: Qwen2.5-3B, MedQA test"
PAPERS_GRID = 4
"""Updates from one point of its Figure 2 to the next."""


def curve_table(
    dynamics: pd.DataFrame,
    bands: pd.DataFrame,
    paper: pd.DataFrame,
    papers_bands: pd.DataFrame,
    titles: Mapping[str, str],
) -> pd.DataFrame:
    """Return the lines and bands of the paper's Figure 2, ours beside its own.

    Args:
        dynamics: of one arm, all its seeds: rows of `tabulate` with the column seed.
        bands: seed, stage, first, last: the stages of its runs.
        paper: assets/paper/figure2.csv: update, chars, accuracy in percent.
        papers_bands: assets/paper/stages.csv: stage, first, last.
        titles: benchmark or control -> title. Drawn is what checkpoints were asked.

    Returns:
        source (paper or ours), panel (accuracy, length or stage), series, seed, update and value: an accuracy as a
        fraction, a mean length in characters; of a stage its first update, and its last in `until`. `update` counts the
        updates that made the model.
    """
    parts = [
        _series(paper, "paper", "accuracy", "test, strict format", "update", paper["accuracy"] / 100),
        _series(paper, "paper", "length", "test", "update", paper["chars"]),
    ]
    sampled = dynamics[dynamics["responses"].notna()].assign(made=lambda rows: rows["update"] - 1)
    parts.append(_series(sampled, "ours", "accuracy", "training, sampled", "made", sampled["correct"]))
    parts.append(_series(sampled, "ours", "length", "training, sampled", "made", sampled["chars"]))
    for name, title in titles.items():
        if f"accuracy_{name}" not in dynamics:
            continue
        asked = dynamics[dynamics[f"accuracy_{name}"].notna()]
        parts.append(_series(asked, "ours", "accuracy", title, "update", asked[f"accuracy_{name}"]))
        parts.append(_series(asked, "ours", "length", title, "update", asked[f"chars_{name}"]))
    for source, stages, shift in (("paper", papers_bands, 0), ("ours", bands, 1)):
        # A band of ours holds the responses sampled before its updates.
        rows = stages.assign(source=source, panel="stage", series=stages["stage"])
        parts.append(rows.assign(update=rows["first"] - shift, until=rows["last"] - shift))
    columns = ["source", "panel", "series", "seed", "update", "value", "until"]
    return pd.DataFrame([row for part in parts for row in part.to_dict("records")], columns=columns)


def bands_of(paths: Mapping[int, str]) -> pd.DataFrame:
    """Return seed, stage, first and last of every band in some runs' stages.json.

    Args:
        paths: seed -> file.
    """
    rows = [
        {"seed": seed, "stage": band["stage"], "first": band["first"], "last": band["last"]}
        for seed, path in paths.items()
        for band in json.loads(Path(path).read_text(encoding="utf-8"))["bands"]
    ]
    return pd.DataFrame(rows)


def _series(
    rows: pd.DataFrame, source: str, panel: str, series: str, update: str, values: "pd.Series[float]"
) -> pd.DataFrame:
    shown = {"source": source, "panel": panel, "series": series, "update": rows[update], "value": values}
    return pd.DataFrame(shown | ({"seed": rows["seed"]} if "seed" in rows else {}))


def draw_curve(table: pd.DataFrame, title: str, width: float = PAGE) -> Figure:
    """The paper's Figure 2, ours beside its own: stages, accuracy and length of responses against the update.

    Lines are means over seeds with their range; the strip above has a row of stages for each seed.

    Args:
        table: as `curve_table` returns it.
        title: of our side.
        width: `PAGE` or `COLUMN`.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _grid(3, 2, width, (4.6, 7.6), height_ratios=(0.32, 1, 1), sharex="col")
        for column, (source, name) in enumerate((("paper", PAPERS), ("ours", title))):
            side = table[table["source"] == source]
            strip, accuracy, length = axes[:, column]
            strip.set_title(name, fontsize=8, loc="left")
            _draw_stages(strip, side[side["panel"] == "stage"], PAPERS_GRID if source == "paper" else 1)
            for axis, panel in ((accuracy, "accuracy"), (length, "length")):
                rows = side[side["panel"] == panel]
                for index, (series, lines) in enumerate(rows.groupby("series", sort=False)):
                    few = lines["update"].nunique() < 60
                    _draw_band(
                        axis, lines, COLOURS[index % len(COLOURS)], LINES[index % len(LINES)], str(series), "o" * few
                    )
            accuracy.set_ylim(0, 1.02)
            accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
            length.set_ylim(0, None)
            length.set_xlabel("update")
            accuracy.legend(loc="lower right", fontsize=7)
        for column in range(2 if width == COLUMN else 1):
            axes[1][column].set_ylabel("accuracy, %")
            axes[2][column].set_ylabel("length, characters")
        seen = set(table.loc[table["panel"] == "stage", "series"])
        handles = [
            Patch(color=STAGE_COLOURS[stage], label=STAGE_NAMES[stage]) for stage in STAGE_NAMES if stage in seen
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3 if width == PAGE else 2)
        return figure


def _grid(rows: int, columns: int, width: float, heights: tuple[float, float], **shared: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes, rows by columns, which in a figure of `COLUMN` width stand below each other.

    Args:
        heights: in inches, of `PAGE` and of `COLUMN`.
        shared: as for `plt.subplots`, of the first.
    """
    if width == PAGE:
        return plt.subplots(rows, columns, figsize=(width, heights[0]), layout="constrained", squeeze=False, **shared)
    ratios = {"height_ratios": shared["height_ratios"] * columns} if "height_ratios" in shared else {}
    size = (width, heights[1])
    figure, axes = plt.subplots(rows * columns, 1, figsize=size, layout="constrained", squeeze=False, **ratios)
    return figure, axes.reshape(columns, rows).T


def _draw_stages(axis: Axes, bands: pd.DataFrame, grid: int) -> None:
    seeds = bands["seed"].fillna(0).astype(int)
    for row, (_, own) in enumerate(bands.groupby(seeds)):
        for band in own.to_dict("records"):
            # Half a step of the grid to either side, so that neighbours meet.
            first, length = band["update"] - grid / 2, band["until"] - band["update"] + grid
            axis.barh(-row, length, left=first, height=0.8, color=STAGE_COLOURS[band["series"]])
    axis.set_yticks(
        [-row for row in range(seeds.nunique())], [f"seed {seed}" if seed else "" for seed in sorted(seeds.unique())]
    )
    axis.grid(visible=False)
    axis.tick_params(length=0)


def _draw_band(axis: Axes, lines: pd.DataFrame, colour: str, style: str, label: str, marker: str = "") -> None:
    """A line for the mean over seeds, and where there are several a band from the lowest to the highest."""
    groups = lines.groupby("update")["value"]
    if "seed" in lines:
        # Where some seeds have no value, the mean would jump to those that have.
        groups = lines[groups.transform("size") == lines["seed"].fillna(0).nunique()].groupby("update")["value"]
    mean = groups.mean()
    axis.plot(mean.index, mean, color=colour, linestyle=style, marker=marker, markersize=2.5, label=label)
    if (groups.size() > 1).any():
        axis.fill_between(mean.index, groups.min(), groups.max(), color=colour, alpha=0.2, linewidth=0)


PANELS = {
    "training": {
        "mean reward": {"reward": "reward"},
        "KL to the base, per token": {"kl": "KL"},
        "entropy, nats per token": {"entropy": "entropy"},
        "value loss": {"value_loss": "value loss"},
        "explained variance": {"explained_variance": "explained variance"},
        "gradient norm": {"gradient_norm": "actor", "critic_gradient_norm": "critic"},
    },
    "hacking": {
        "share of valid formats": {
            "early_answer": "answer given away early",
            "empty_think": "empty think block",
            "pre_think": "reasoning before <think>",
            "loose_format": "not strict",
        },
        "share of responses": {f"stage_{name}": title for name, title in list(STAGE_NAMES.items())[:-1]},
        "characters": {"think_chars": "think block", "chars_before_think": "before <think>"},
        "distance of letters": {"position_bias": "answered from right letters"},
        "self-verification, share": {"self_verification": "a phrase of it"},
        "share of all responses": {"truncated": "cut at the limit", "unparsed": "no readable letter"},
    },
    "ablations": {
        "mean reward": {"reward": ""},
        "right letter, share": {"correct": ""},
        "length, characters": {"chars": ""},
        "given away early, share": {"early_answer": ""},
    },
}
"""Figure -> panel's label -> column of the dynamics -> line's label."""


def panels_table(dynamics: pd.DataFrame, figure: str) -> pd.DataFrame:
    """Return the columns that a figure of `PANELS` draws, with arm, seed and update; the parts of the reward too.

    What none of the rows has is left out.

    Args:
        dynamics: rows of `tabulate` with the columns arm and seed.
    """
    # Beside an arm with a critic, one without has its columns too, empty.
    known = [str(name) for name in dynamics.dropna(axis="columns", how="all")]
    columns = [column for lines in PANELS[figure].values() for column in lines if column in known]
    columns += [name for name in known if figure == "training" and _is_part(name)]
    return dynamics.loc[dynamics["responses"].notna(), ["arm", "seed", "update", *columns]]


def _is_part(name: str) -> bool:
    return name.startswith("reward_") and name != "reward_sd"


def draw_panels(table: pd.DataFrame, figure: str, width: float = PAGE) -> Figure:
    """Draw a figure of `PANELS`: means over seeds with their range, a colour for each line, a style for each arm.

    Args:
        table: as `panels_table` returns it.
        width: `PAGE` or `COLUMN`.
    """
    panels = {
        label: {name: line for name, line in lines.items() if name in table} for label, lines in PANELS[figure].items()
    }
    parts = [name for name in map(str, table) if _is_part(name)]
    if len(parts) > 1:
        panels["mean reward"] |= {name: name.removeprefix("reward_").replace("_", " ") for name in parts}
    panels = {label: lines for label, lines in panels.items() if lines}
    arms = list(dict.fromkeys(table["arm"]))
    with mpl.rc_context(STYLE):
        rows = -(-len(panels) // 2)
        drawn, axes = _grid(rows, 2, width, (1.9 * rows, 3.2 * rows), sharex=True)
        for axis, (label, lines) in zip(axes.flat, panels.items(), strict=False):
            for index, (column, name) in enumerate(lines.items()):
                for number, arm in enumerate(arms):
                    one = table.loc[table["arm"] == arm, ["update", column]].rename(columns={column: "value"})
                    text = ", ".join(filter(None, [name, arm if len(arms) > 1 else ""]))
                    colour = COLOURS[(number if figure == "ablations" else index) % len(COLOURS)]
                    colour = STAGE_COLOURS.get(column.removeprefix("stage_"), colour)
                    style = LINES[(number if len(arms) > 1 else index) % len(LINES)]
                    _draw_band(axis, one, colour, style, text)
            axis.set_ylabel(label)
            if "share" in label:
                axis.set_ylim(0, max(0.05, axis.get_ylim()[1]))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            # All panels of ablations have the same lines, and a legend inside would lie on them.
            if len(lines) * len(arms) > 1 and figure != "ablations":
                axis.legend(loc="best", fontsize=7)
        if figure == "ablations":
            drawn.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=min(len(arms), 2))
        shown = list(axes.flat)[: len(panels)]
        # The lowest of each column; with an odd number one of them stands a row above.
        lowest = shown[-2:] if width == PAGE else [axis for axis in axes.T.flat if axis in shown][-1:]
        for axis in lowest:
            axis.set_xlabel("update")
            axis.tick_params(labelbottom=True)
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_axis_off()
        return drawn


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


def draw_accuracy(table: pd.DataFrame, width: float = PAGE) -> Figure:
    """The paper's Figure 3, ours beside its own; error bars are the bootstrap's standard deviation, dots are seeds.

    Args:
        table: as `accuracy_table` returns it.
        width: `PAGE` or `COLUMN`.
    """
    with mpl.rc_context(STYLE):
        titles = list(dict.fromkeys(table["title"]))
        figure, axes = _grid(1, len(titles), width, (2.7, 2.3 * len(titles)), sharey=True)
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


def save(figure: Figure, path: Path) -> None:
    """Write SVG and, beside it, PDF with its fonts, without a date in them, so that equal figures are equal files."""
    with mpl.rc_context(STYLE):
        for suffix, date in (("svg", "Date"), ("pdf", "CreationDate")):
            drawn = partial(figure.savefig, format=suffix, metadata={date: None})
            write_atomically(path.with_suffix(f".{suffix}"), drawn)
    plt.close(figure)
