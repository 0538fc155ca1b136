"""The dynamics figure, after the paper's Figure 2."""

from collections.abc import Mapping

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import PercentFormatter

from medrlvr.report.figures.style import (
    COLOURS,
    COLUMN,
    LINES,
    PAGE,
    STAGE_COLOURS,
    STAGE_NAMES,
    STYLE,
    draw_band,
    draw_stages,
    grid,
)
from medrlvr.runtime.files import read_json

PAPERS = "the paper: Qwen2.5-3B, MedQA test"
ANY_LETTER = "any letter"
"""Panel of the accuracies by any readable answer, which are drawn thin over those in the required format."""

PAPERS_GRID = 4
"""Updates between two points of the paper's Figure 2."""


def curve_table(
    dynamics: pd.DataFrame,
    bands: pd.DataFrame,
    paper: pd.DataFrame,
    papers_bands: pd.DataFrame,
    titles: Mapping[str, str],
) -> pd.DataFrame:
    """Return the lines and bands of Figure 2, our values next to the paper's.

    Args:
        dynamics: rows of `tabulate` for all seeds of one arm, with the column seed.
        bands: stages of these runs: seed, stage, first, last.
        paper: assets/paper/figure2.csv: update, chars, accuracy in percent.
        papers_bands: assets/paper/stages.csv: stage, first, last.
        titles: benchmark or control -> title; those on which no checkpoint was evaluated are left out.

    Returns:
        source (paper or ours), panel (accuracy, any letter, length or stage), series, seed, update, value, until.
        `update` is the number of updates of the model. `value` is an accuracy (fraction), in the required format or by
        any readable answer, or a mean length (characters). A stage lasts from `update` to `until`.
    """
    parts = [
        _series(paper, "paper", "accuracy", "test, strict format", "update", paper["accuracy"] / 100),
        _series(paper, "paper", "length", "test", "update", paper["chars"]),
    ]
    sampled = dynamics[dynamics["responses"].notna()].assign(made=lambda rows: rows["update"] - 1)
    parts.append(_series(sampled, "ours", "accuracy", "training, sampled", "made", sampled["correct"]))
    parts.append(_series(sampled, "ours", ANY_LETTER, "training, sampled", "made", sampled["lenient_correct"]))
    parts.append(_series(sampled, "ours", "length", "training, sampled", "made", sampled["chars"]))
    for name, title in titles.items():
        if f"accuracy_{name}" not in dynamics:
            continue
        asked = dynamics[dynamics[f"accuracy_{name}"].notna()]
        parts.append(_series(asked, "ours", "accuracy", title, "update", asked[f"accuracy_{name}"]))
        parts.append(_series(asked, "ours", ANY_LETTER, title, "update", asked[f"lenient_accuracy_{name}"]))
        parts.append(_series(asked, "ours", "length", title, "update", asked[f"chars_{name}"]))
    for source, stages, shift in (("paper", papers_bands, 0), ("ours", bands, 1)):
        # Our bands contain the responses of an update, which the model of the previous update sampled.
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
        for band in read_json(path)["bands"]
    ]
    return pd.DataFrame(rows)


def _series(
    rows: pd.DataFrame, source: str, panel: str, series: str, update: str, values: "pd.Series[float]"
) -> pd.DataFrame:
    shown = {"source": source, "panel": panel, "series": series, "update": rows[update], "value": values}
    return pd.DataFrame(shown | ({"seed": rows["seed"]} if "seed" in rows else {}))


def draw_curve(table: pd.DataFrame, title: str, width: float = PAGE) -> Figure:
    """Draw Figure 2, our half next to the paper's: stages, accuracy and response length over updates.

    Lines are means over seeds with their range. The strip above has a row of stages for each seed.

    Args:
        table: as `curve_table` returns it.
        title: title of our half.
        width: `PAGE` or `COLUMN`.
    """
    with mpl.rc_context(STYLE):
        figure, axes = grid(3, 2, width, (4.9, 8.2), height_ratios=(0.32, 1, 1), sharex="col")
        for column, (source, name) in enumerate((("paper", PAPERS), ("ours", title))):
            side = table[table["source"] == source]
            strip, accuracy, length = axes[:, column]
            strip.set_title(name, fontsize=8, loc="left")
            draw_stages(strip, side[side["panel"] == "stage"], PAPERS_GRID if source == "paper" else 1)
            for axis, panel in ((accuracy, "accuracy"), (length, "length")):
                rows = side[side["panel"] == panel]
                for index, (series, lines) in enumerate(rows.groupby("series", sort=False)):
                    few = lines["update"].nunique() < 60
                    draw_band(
                        axis, lines, COLOURS[index % len(COLOURS)], LINES[index % len(LINES)], str(series), "o" * few
                    )
            thin = side[side["panel"] == ANY_LETTER].groupby("series", sort=False)
            for index, (_, lines) in enumerate(thin):
                draw_band(accuracy, lines, COLOURS[index % len(COLOURS)], LINES[index % len(LINES)], "_", width=0.6)
            accuracy.set_ylim(0, 1.02)
            accuracy.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
            length.set_ylim(0, None)
            length.set_xlabel("update")
        # One line has free space for its legend. Ours would cover each other in a legend inside the panel.
        axes[1][0].legend(loc="lower right", fontsize=7)
        for column in range(2 if width == COLUMN else 1):
            axes[1][column].set_ylabel("accuracy, %")
            axes[2][column].set_ylabel("length, characters")
        seen = set(table.loc[table["panel"] == "stage", "series"])
        handles: list[Artist] = [*axes[1][1].get_legend_handles_labels()[0]]
        handles += [
            Patch(color=STAGE_COLOURS[stage], label=STAGE_NAMES[stage]) for stage in STAGE_NAMES if stage in seen
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3 if width == PAGE else 2)
        return figure
