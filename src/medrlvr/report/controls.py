"""Values of the report about the controls of what a gain consists of (docs/controls.md); None if it did not run.

Each sentence is chosen by a rule of docs/report.md from numbers in the controls' files.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medrlvr.config.design import DEPENDENCE, LEAST_AGREEMENT, SIGNIFICANCE, ComparisonDesign
from medrlvr.report.figures.style import COLOURS, STAGE_COLOURS, STAGE_NAMES
from medrlvr.report.overview import arm_label, model_label
from medrlvr.runtime.files import read_json

NO_BLOCK = "no block"
"""Outcome of the claim instead of a verdict: no response has a think block to change."""
NOT_MEASURED = "not measured"
"""Outcome of the claim instead of a verdict: some runs have no block to change, or none that can be swapped."""
MEANINGS = {
    "supported": (
        "RLVR's answers depend on the chain of thought on {}: more than half of them change when the think block is "
        "emptied, and when it is swapped."
    ),
    "contradicted": (
        "RLVR's answers do not depend on the chain of thought on {}: fewer than half of them change when the think "
        "block is emptied, or when it is swapped."
    ),
    NO_BLOCK: "No response of RLVR's last checkpoint has a think block to change on {}.",
    NOT_MEASURED: (
        "Not measured on {}: in one run or more, no think block of the last checkpoint can be emptied, or none can be "
        "swapped."
    ),
    "undecided": "Undecided: {}.",
}
"""Outcome -> sentence about its benchmarks."""

SENSITIVITY = {
    "kept_emptied": "Kept: emptied",
    "kept_shuffled": "Kept: shuffled",
    "kept_swapped": "Kept: swapped",
    "kept_replaced": "Kept: replaced",
    "position": "Position",
    "area": "Area",
    "agreement": "Agreement",
}
"""Measure -> column of the table and line of the chart."""
REPEATED = {"pass_reasoned": "pass@k, steps true", "pass": "pass@k", "majority": "maj@k"}
READINGS = {"correct": "required format", "lenient_correct": "any readable answer"}
FORMATS = {"tags": "Paper's tags", "boxed": "\\boxed{}", "answer_line": "“Answer:”", "open": "No options"}

DASHES = ("none", "7 3", "2 2", "8 3 2 3")
"""Of the lines of each colour in turn, as SVG's stroke-dasharray."""
INK, SOFT = "var(--ink)", "var(--soft)"
"""Colours of text in the report, which are light in the dark theme."""

Interval = tuple[float, float, float]
"""A value and the ends of its 95 % interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFiles:
    """Files of the controls that ran.

    Attributes:
        sensitivity: <arm>/seed<n> -> its files: record (JSON), requests, answers and questions (parquet).
        samples: samples.json, or None.
        formats: formats.json, or None.
    """

    sensitivity: Mapping[str, Mapping[str, str | Path]] = field(default_factory=dict)
    samples: str | Path | None = None
    formats: str | Path | None = None


def control_values(
    files: ControlFiles,
    comparisons: Mapping[str, Any],
    verdict: Mapping[str, Any],
    titles: Mapping[str, str],
    bands: Mapping[str, Sequence[Mapping[str, Any]]],
    design: ComparisonDesign,
) -> dict[str, Any]:
    """Return the values of each control, or None if it did not run.

    Args:
        files: the controls' files.
        comparisons: comparisons.json.
        verdict: claims.json.
        titles: benchmark -> title.
        bands: run -> bands of its stages.json: stage, first and last update.
        design: the experiment's comparison design, with an RLVR arm.
    """
    records = {run: _records(paths["record"], "records") for run, paths in files.sensitivity.items()}
    samples = read_json(files.samples) if files.samples else None
    formats = read_json(files.formats) if files.formats else None
    return {
        "sensitivity": describe_sensitivity(records, verdict["claims"], titles, bands, design) if records else None,
        "samples": describe_samples(samples, titles, design) if samples else None,
        "shifts": describe_shifts(comparisons["shifts"], titles, design) if comparisons["shifts"] else None,
        "formats": describe_formats(formats, titles, design) if formats else None,
    }


# ---------------------------------------------------------------- sensitivity
def describe_sensitivity(
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    claims: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    bands: Mapping[str, Sequence[Mapping[str, Any]]],
    design: ComparisonDesign,
) -> dict[str, Any]:
    """Return sentence, rows (of each run's last checkpoint), chart, and runs.

    Args:
        records: run -> records of its sensitivity.json.
        claims: rows of the verdict table.
        titles: benchmark -> title.
        bands: run -> stage, first and last update.
        design: the comparison design.
    """
    last = {run: max(record["update"] for record in own) for run, own in records.items()}
    rows = [
        {"benchmark": name, "title": titles[name], **_sensitivity_row(model_label(run, design), found)}
        for name in titles
        for run, own in records.items()
        if (found := _by_measure(own, name, last[run]))
    ]
    stages = {run: _bands(bands[run]) for run in records}
    return {
        "sentence": _sensitivity_sentence(rows, claims, titles),
        "rows": rows,
        "columns": list(SENSITIVITY.values()),
        "chart": _sensitivity_chart(records, titles, design) | {"bands": stages},
        "runs": list(records),
    }


def _by_measure(records: Iterable[Mapping[str, Any]], benchmark: str, update: int) -> dict[str, Mapping[str, Any]]:
    return {
        record["measure"]: record
        for record in records
        if record["benchmark"] == benchmark and record["update"] == update
    }


def _sensitivity_row(label: str, found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    used = found["used"]
    return {
        "model": label,
        "used": round(used["value"] * used["n"]),
        "drawn": used["n"],
        "cells": [{"name": name, **found[name]} if name in found else None for name in SENSITIVITY],
    }


def _sensitivity_sentence(
    rows: Sequence[Mapping[str, Any]], claims: Sequence[Mapping[str, Any]], titles: Mapping[str, str]
) -> str:
    """Return what the claim's outcomes mean, and a reservation where the forced letter is often not the written one."""
    outcomes = {row["benchmark"]: claim_outcome(row) for row in claims if row["claim"] == DEPENDENCE}
    parts = [
        meaning.format(_where(here, everywhere=len(outcomes)))
        for outcome, meaning in MEANINGS.items()
        if (here := [titles[name] for name, own in outcomes.items() if own == outcome])
    ]
    low = {row["title"] for row in rows if row["cells"][-1] and row["cells"][-1]["value"] < LEAST_AGREEMENT}
    if low:
        parts.append(f"Not interpreted, because agreement is below 95 %: {_where(sorted(low), everywhere=0)}.")
    return " ".join(parts)


def claim_outcome(row: Mapping[str, Any]) -> str:
    """Return the verdict of a row of the claim, or NO_BLOCK or NOT_MEASURED if it has no value."""
    if row["value"] is not None:
        return str(row["verdict"])
    return NOT_MEASURED if row["n"] else NO_BLOCK


def _sensitivity_chart(
    records: Mapping[str, Sequence[Mapping[str, Any]]], titles: Mapping[str, str], design: ComparisonDesign
) -> dict[str, Any]:
    """Return the chart of the measures over updates, for a chosen run and benchmark."""
    points: dict[tuple[str, str, str], list[list[float]]] = {}
    for run, own in records.items():
        for row in own:
            points.setdefault((run, row["benchmark"], row["measure"]), []).append(_point("update", row))
    lines = [
        {
            "where": {"run": run, "benchmark": name},
            "label": label,
            **_style(index),
            "points": sorted(points[run, name, measure]),
        }
        for run in records
        for name in titles
        for index, (measure, label) in enumerate(SENSITIVITY.items())
        if (run, name, measure) in points
    ]
    selects = {
        "run": ("Model", {run: model_label(run, design) for run in records}),
        "benchmark": ("Benchmark", titles),
    }
    return _chart("Update", lines, selects, logarithmic=False)


def _bands(bands: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return name, colour, and the first and last checkpoint whose responses are in the band.

    A band contains the responses of an update, which the model of the previous update sampled.
    """
    return [
        {
            "name": STAGE_NAMES[band["stage"]],
            "colour": STAGE_COLOURS[band["stage"]],
            "first": band["first"] - 1,
            "last": band["last"] - 1,
        }
        for band in bands
    ]


# ---------------------------------------------------------------- pass@k and maj@k
def describe_samples(record: Mapping[str, Any], titles: Mapping[str, str], design: ComparisonDesign) -> dict[str, Any]:
    """Return sentence, rows (RLVR minus base at the smallest and largest k), most (the largest k) and chart.

    Args:
        record: samples.json.
        titles: benchmark -> title.
        design: the comparison design.
    """
    curves, differences = record["curves"], record["rlvr_minus_base"]
    most = max(row["k"] for row in curves)
    judged = [row for row in differences if row["finding"]]
    sentence = _findings(judged, titles, most) if judged else _guessing(curves, titles, most, design)
    return {
        "sentence": sentence,
        "rows": _differences(differences, titles, sorted({1, most})),
        "most": most,
        "chart": _samples_chart(curves, titles, design),
    }


def _findings(judged: Sequence[Mapping[str, Any]], titles: Mapping[str, str], most: int) -> str:
    """Return on which benchmarks RLVR or its base solves more, in both readings."""
    parts = []
    for reading, label in READINGS.items():
        own = {row["benchmark"]: row["finding"] for row in judged if row["reading"] == reading}
        found = [
            f"{finding} on {_where(here, everywhere=len(own))}"
            for finding in dict.fromkeys(own.values())
            if (here := [titles[name] for name, its in own.items() if its == finding])
        ]
        parts.append(f"{label}: {'; '.join(found)}")
    return f"At k = {most}, counting only samples whose steps are true. {_sentences(parts)}"


def _guessing(
    curves: Sequence[Mapping[str, Any]], titles: Mapping[str, str], most: int, design: ComparisonDesign
) -> str:
    """Return whether guessing explains RLVR's pass@k at the largest k, where the reasoning was not checked.

    Only questions with options have a rate of guessing.
    """
    if not any(row["measure"] == "guessing" for row in curves):
        return f"Without options, there is no rate of guessing to compare RLVR's pass@{most} with."
    parts = []
    for reading, label in READINGS.items():
        here = [row for row in curves if (row["arm"], row["reading"], row["k"]) == (design.rlvr, reading, most)]
        least = {row["benchmark"]: row["low"] for row in here if row["measure"] == "pass"}
        chance = {row["benchmark"]: row["value"] for row in here if row["measure"] == "guessing"}
        above = [titles[name] for name in chance if least[name] > chance[name]]
        others = [titles[name] for name in chance if least[name] <= chance[name]]
        found = [
            *([f"guessing does not explain it on {_where(above, everywhere=len(least))}"] if above else []),
            *([f"guessing explains it on {_where(others, everywhere=len(least))}"] if others else []),
        ]
        parts.append(f"{label}: {'; '.join(found)}")
    return f"RLVR's pass@{most}. {_sentences(parts)}"


def _differences(
    differences: Sequence[Mapping[str, Any]], titles: Mapping[str, str], ks: Sequence[int]
) -> list[dict[str, Any]]:
    """Return one row per benchmark, measure and k, with the difference in both readings."""
    found = {(row["benchmark"], row["measure"], row["k"], row["reading"]): row for row in differences}
    return [
        {
            "benchmark": name,
            "title": title,
            "measure": label,
            "k": k,
            **{reading: found[name, measure, k, reading] for reading in READINGS},
        }
        for name, title in titles.items()
        for measure, label in REPEATED.items()
        for k in ks
        if (name, measure, k, "correct") in found
    ]


def _samples_chart(
    curves: Sequence[Mapping[str, Any]], titles: Mapping[str, str], design: ComparisonDesign
) -> dict[str, Any]:
    """Return the chart of pass@k and maj@k, for a chosen benchmark, measure and reading, next to guessing."""
    arms = list(dict.fromkeys(row["arm"] for row in curves))
    shown = {name: label for name, label in REPEATED.items() if any(row["measure"] == name for row in curves)}
    points: dict[tuple[str, str, str, str], list[list[float]]] = {}
    for row in curves:
        key = (row["benchmark"], row["measure"], row["reading"], row["arm"])
        # The interval of guessing only shows that questions differ in their number of options.
        points.setdefault(key, []).append(_point("k", row)[: 2 if row["measure"] == "guessing" else None])
    lines = [
        {
            "where": {"benchmark": name, "measure": measure, "reading": reading},
            "label": label,
            **style,
            "points": sorted(points[name, source, reading, arm]),
        }
        for name in titles
        for measure in shown
        for reading in READINGS
        for source, arm, label, style in [
            *((measure, arm, arm_label(arm, design), _style(index)) for index, arm in enumerate(arms)),
            ("guessing", arms[0], "guessing", {"colour": SOFT, "dash": "2 3"}),
        ]
        if (name, source, reading, arm) in points and not (measure == "majority" and source == "guessing")
    ]
    selects = {
        "benchmark": ("Benchmark", titles),
        "measure": ("Measure", shown),
        "reading": ("Reading", READINGS),
    }
    return _chart("k", lines, selects, logarithmic=True)


# ---------------------------------------------------------------- options and answer formats
def describe_shifts(
    records: Sequence[Mapping[str, Any]], titles: Mapping[str, str], design: ComparisonDesign
) -> dict[str, Any]:
    """Return sentence and rows of the accuracy over all orders of the options.

    Args:
        records: `shifts` of comparisons.json.
        titles: benchmark -> title.
        design: the comparison design.
    """
    assert design.rlvr is not None
    first, mode = design.models[design.rlvr][0], design.modes[design.rlvr][0]
    own = {row["benchmark"]: row for row in records if (row["model"], row["mode"]) == (first, mode)}
    parts = []
    for label, reading in zip(READINGS.values(), (None, "any_letter"), strict=True):
        chosen = {name: row[reading] if reading else row for name, row in own.items()}
        more = [titles[name] for name, row in chosen.items() if row["excess_low"] > 0]
        parts.append(f"on {_where(more, everywhere=len(own)) if more else 'no benchmark'} ({label})")
    rows = [{**row, "title": titles[row["benchmark"]], "label": model_label(row["model"], design)} for row in records]
    sentence = f"RLVR is right in every order more often than independent orders would give {', and '.join(parts)}."
    return {"sentence": sentence, "rows": rows}


def describe_formats(record: Mapping[str, Any], titles: Mapping[str, str], design: ComparisonDesign) -> dict[str, Any]:
    """Return sentence and rows of the matrix, and sentence and rows of the memory.

    Args:
        record: formats.json.
        titles: benchmark -> title.
        design: the comparison design.
    """
    cells = {(row["benchmark"], _model(row["model"]), row["format"]): row for row in record["matrix"]}
    models = list(dict.fromkeys(model for _, model, _ in cells))
    matrix = [
        {
            "benchmark": name,
            "title": title,
            "model": model_label(model, design),
            "cells": [cells[name, model, form] for form in FORMATS],
        }
        for name, title in titles.items()
        for model in models
        if (name, model, "tags") in cells
    ]
    memory = [
        {**row, "title": titles[row["benchmark"]], "model": model_label(row["model"], design)}
        for row in record["memory"]
    ]
    return {
        "sentence": _formats_sentence(record["rlvr_minus_base"], titles),
        "followed": _followed_sentence(cells, titles, design),
        "columns": list(FORMATS.values()),
        "matrix": matrix,
        "memory_sentence": _memory_sentence(record["memory"]),
        "memory": memory,
    }


def _formats_sentence(differences: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> str:
    """Return for each format the number of benchmarks on which RLVR is better than its base."""
    asked = {row["benchmark"] for row in differences} & {*titles}
    better = {(row["benchmark"], row["format"]) for row in differences if row["low"] > 0 and row["p"] < SIGNIFICANCE}
    counts = {label: sum((name, form) in better for name in asked) for form, label in FORMATS.items()}
    parts = ", ".join(f"{label} {count}" for label, count in counts.items())
    benchmarks = f"{len(asked)} benchmark{'s' if len(asked) != 1 else ''}"
    return f"Of {benchmarks}, RLVR is better than its base, by any readable answer, with the prompt for: {parts}."


def _followed_sentence(
    cells: Mapping[tuple[str, str, str], Mapping[str, Any]], titles: Mapping[str, str], design: ComparisonDesign
) -> str:
    """Return in which share of its responses RLVR's first model uses the requested format, over all benchmarks."""
    assert design.rlvr is not None
    first = design.models[design.rlvr][0]
    shares = {
        label: [cells[name, first, form]["followed"] for name in titles if (name, first, form) in cells]
        for form, label in FORMATS.items()
    }
    parts = ", ".join(f"{label} {100 * sum(own) / len(own):.0f} %" for label, own in shares.items())
    return f"Share of its responses in the requested format: {parts}."


def _memory_sentence(memory: Sequence[Mapping[str, Any]]) -> str:
    """Return the share of questions that the base remembers; it is the same in the rows of all models."""
    first = {row["benchmark"]: row for row in reversed(memory)}.values()
    return (
        f"The base completes the options of {sum(row['remembered'] for row in first)} of "
        f"{sum(row['n'] for row in first)} questions word for word."
    )


def _model(folder: str) -> str:
    """Return the model of a model's folder, such as rlvr/seed1."""
    return folder.rpartition("/models/")[2]


# ---------------------------------------------------------------- shared
def _where(names: Sequence[str], everywhere: int) -> str:
    """Return benchmarks in words; `everywhere` is their number."""
    return "every benchmark" if len(names) == everywhere > 1 else ", ".join(f"“{name}”" for name in names)


def _sentences(parts: Sequence[str]) -> str:
    return " ".join(f"{part[:1].upper()}{part[1:]}." for part in parts)


def _style(index: int) -> dict[str, str]:
    colours = [*COLOURS[:-1], INK]
    return {"colour": colours[index % len(colours)], "dash": DASHES[index % len(DASHES)]}


def _point(place: str, row: Mapping[str, Any]) -> list[float]:
    """Return the place of a record on the x-axis, its value and the ends of its interval."""
    return [row[place], *(float(f"{row[name]:.6g}") for name in ("value", "low", "high"))]


def _chart(
    axis: str,
    lines: Sequence[Mapping[str, Any]],
    selects: Mapping[str, tuple[str, Mapping[str, str]]],
    *,
    logarithmic: bool,
) -> dict[str, Any]:
    """Return a chart for templates/controls.js: it draws the lines that agree with every select.

    A select has only the values that some line has.
    """
    return {
        "axis": axis,
        "logarithmic": logarithmic,
        "lines": lines,
        "selects": [
            {
                "name": name,
                "title": title,
                "options": [
                    (value, label)
                    for value, label in options.items()
                    if any(line["where"][name] == value for line in lines)
                ],
            }
            for name, (title, options) in selects.items()
        ],
    }


def _records(path: str | Path, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_json(path)[name]
    return found
