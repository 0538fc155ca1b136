"""Values of the report's interactive charts: the runs' curves over updates, and the panels that show them.

templates/charts.js draws them with Observable Plot (vendor/README.md). A point leads to the responses of its value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from medrlvr.report.figures.panels import PANELS, is_reward_part
from medrlvr.report.figures.style import COLOURS, STAGE_COLOURS, STAGE_NAMES

DIGITS = 6
"""Significant digits of the embedded values. A share of 64 responses needs 6."""

DASHES = ("none", "7 3", "2 2", "8 3 2 3")
"""Of the lines of each arm, as SVG's stroke-dasharray. With more arms, they repeat."""

INK = "var(--ink)"
"""Colour of text in the report, which is light in the dark theme."""

TRAINER = {
    "KL to the base": ("Per token, as the trainer reports it.", "KL to the base, per token"),
    "Entropy": ("Nats per token.", "entropy, nats per token"),
    "Surprisal of right and wrong answers": (
        "Nats per token, an estimate of the entropy. Right: by the required format.",
        "surprisal, nats per token",
    ),
    "Value loss": ("Of the critic.", "value loss"),
    "Explained variance": ("Of the returns, by the critic.", "explained variance"),
    "Gradient norm": ("Before clipping.", "gradient norm"),
}
"""Charts of the trainer's own metrics: title -> note and panel of the figure "training"."""

GREY = STAGE_COLOURS["format_failure"]


def describe_curves(name: str, dynamics: pd.DataFrame, stages: Mapping[str, Any]) -> dict[str, Any]:
    """Return one run's curves.

    Args:
        name: <arm>/seed<n>.
        dynamics: as `dynamics.updates.tabulate` returns it.
        stages: the run's stages.json.

    Returns:
        name, arm, seed; updates; values: column -> one number or None for each update, without columns that are empty;
        bands: stage, first, last.
    """
    arm, seed = name.rsplit("/seed", 1)
    numbers = dynamics.drop(columns="update").select_dtypes("number").dropna(axis="columns", how="all")
    return {
        "name": name,
        "arm": arm,
        "seed": int(seed),
        "updates": dynamics["update"].astype(int).tolist(),
        "values": {str(column): [_rounded(value) for value in numbers[column]] for column in numbers},
        "bands": [{key: band[key] for key in ("stage", "first", "last")} for band in stages["bands"]],
    }


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{DIGITS}g}")


def chart_values(
    runs: Sequence[Mapping[str, Any]], titles: Mapping[str, str], label: Callable[[str], str]
) -> dict[str, Any]:
    """Return the runs, reduced to the columns that are shown, and the panels.

    Args:
        runs: as `describe_curves` returns them.
        titles: benchmark or control -> title; those on which no checkpoint was evaluated are left out.
        label: returns the name for readers of an arm or a run.

    Returns:
        runs, with their label; arms: name, label and dash; seeds; first and last: the updates whose responses exist;
        panels: title, note, kind (percent, characters or number) and series, each with label, colour and columns. The
        second column of an accuracy is its lenient reading. A series with the key `stage` counts responses of this
        stage. One with `checkpoint` describes answers of checkpoints, not sampled responses. stages: stage -> name and
        colour. unlabelled: stages of runs that are not the label of a response.
    """
    known = set().union(*(run["values"] for run in runs))
    panels = [
        {**panel, "series": series}
        for panel in _panels(known, titles)
        if (series := [kept for one in panel["series"] if (kept := _known(one, known))["columns"]])
    ]
    arms = dict.fromkeys(run["arm"] for run in runs)
    labels = {one["stage"] for panel in panels for one in panel["series"] if "stage" in one}
    occurring = {band["stage"] for run in runs for band in run["bands"]}
    shown = {column for panel in panels for one in panel["series"] for column in one["columns"]}
    return {
        "runs": [
            {
                **run,
                "label": label(run["name"]),
                "values": {name: values for name, values in run["values"].items() if name in shown},
            }
            for run in runs
        ],
        "arms": [
            {"name": arm, "label": label(arm), "dash": DASHES[index % len(DASHES)]} for index, arm in enumerate(arms)
        ],
        "seeds": sorted({run["seed"] for run in runs}),
        "first": 1,
        "last": max(run["updates"][-1] for run in runs),
        "panels": panels,
        "stages": {stage: {"name": name, "colour": STAGE_COLOURS[stage]} for stage, name in STAGE_NAMES.items()},
        "unlabelled": [stage for stage in STAGE_NAMES if stage in occurring - labels],
    }


def _known(series: dict[str, Any], known: set[str]) -> dict[str, Any]:
    return {**series, "columns": [column for column in series["columns"] if column in known]}


def _panels(known: set[str], titles: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return every panel, with series whose columns may be missing."""
    return [*_answer_panels(titles), *_hacking_panels(), *_reward_panels(known), *_trainer_panels()]


def _panel(title: str, note: str, kind: str, series: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "note": note, "kind": kind, "series": series}


def _answer_panels(titles: Mapping[str, str]) -> list[dict[str, Any]]:
    tests = {name: COLOURS[index % (len(COLOURS) - 1)] for index, name in enumerate(titles)}
    training = {"label": "Training responses", "colour": INK}
    accuracy = [
        {**training, "columns": ["correct", "lenient_correct"]},
        *(
            _tested(titles[name], colour, f"accuracy_{name}", f"lenient_accuracy_{name}")
            for name, colour in tests.items()
        ),
    ]
    length = [
        {**training, "columns": ["chars"]},
        {"label": "Think block, training", "colour": GREY, "columns": ["think_chars"]},
        *(_tested(titles[name], colour, f"chars_{name}") for name, colour in tests.items()),
    ]
    by_grade = _coloured({"chars_right": "right", "chars_wrong": "wrong"})
    readings = (
        "Thick, first value: required format. Thin, second value: any readable answer."
        " Test questions: answers of checkpoints."
    )
    graded = "Mean of sampled responses, in characters. Right: by the required format."
    return [
        _panel("Accuracy", readings, "percent", accuracy),
        _panel("Length of responses", "Mean, in characters.", "characters", length),
        _panel("Length of right and wrong answers", graded, "characters", by_grade),
    ]


def _hacking_panels() -> list[dict[str, Any]]:
    labels = [
        {"label": name, "colour": STAGE_COLOURS[stage], "columns": [f"stage_{stage}"], "stage": stage}
        for stage, name in STAGE_NAMES.items()
    ]
    indicators = {**PANELS["hacking"]["share of valid format"], "position_bias": "position bias"}
    note = "Share of the update's responses with each label. The strip above shows the stages of each run."
    shares = "Share of the responses of valid format."
    return [
        _panel("Stages", note, "percent", labels),
        _panel("Reward-hacking indicators", shares, "percent", _coloured(indicators)),
    ]


def _reward_panels(known: set[str]) -> list[dict[str, Any]]:
    parts = sorted(filter(is_reward_part, known))
    rewards = {"reward": "mean reward"} | ({name: _part(name) for name in parts} if len(parts) > 1 else {})
    equal = _coloured({"equal_rewards": "equal rewards"})
    note = "Share of prompts whose responses all have the same reward."
    return [
        _panel("Reward", "Mean of the update's responses.", "number", _coloured(rewards)),
        _panel("Prompts with equal rewards", note, "percent", equal),
    ]


def _trainer_panels() -> list[dict[str, Any]]:
    return [
        _panel(title, note, "number", _coloured(PANELS["training"][name])) for title, (note, name) in TRAINER.items()
    ]


def _tested(label: str, colour: str, *columns: str) -> dict[str, Any]:
    return {"label": label, "colour": colour, "columns": list(columns), "checkpoint": True}


def _coloured(lines: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"label": label[:1].upper() + label[1:], "colour": COLOURS[index % len(COLOURS)], "columns": [column]}
        for index, (column, label) in enumerate(lines.items())
    ]


def _part(column: str) -> str:
    return column.removeprefix("reward_").replace("_", " ")
