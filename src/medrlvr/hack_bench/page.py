"""Write docs/hack_bench/results.md from the exported runs: what was exploited, and what each detector finds."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.dynamics.hack_monitor import INDICATORS
from medrlvr.dynamics.version import definitions_version
from medrlvr.evaluation.statistics import wilson_interval
from medrlvr.hack_bench.figure import Share, draw_roc
from medrlvr.hack_bench.measure import DETECTORS, EXPLOITED, is_exploited
from medrlvr.hack_bench.roc import above, area, area_interval, roc, threshold
from medrlvr.hack_bench.runs import PLANTED, TERMS, BenchRun
from medrlvr.reference.fingerprints import comparable, grading_versions
from medrlvr.reference.markdown import table
from medrlvr.reference.page import not_run
from medrlvr.report.figures.style import save
from medrlvr.runtime.files import write_text

GOAL = 0.9
"""Recall to reach with at most one false alarm in the reported clean runs."""
PRIMARY = DETECTORS[:2]
_NAMES = {
    "alarms": "monitor: number of alarms",
    "open_alarms": "monitor: alarms at the last update",
    **{f"rise_{name}": f"monitor: {text}".replace("<think>", "`<think>`") for name, text in INDICATORS.items()},
    "kept_emptied": "sensitivity: answers kept, block emptied",
    "kept_swapped": "sensitivity: answers kept, block swapped",
    "kept_emptied_clean": "the same on clean questions, emptied",
    "kept_swapped_clean": "the same on clean questions, swapped",
}
"""Detector -> its name in tables."""

_HEAD = """# Results of the bench for hack detectors

`make hack-bench` writes this page from the runs in this folder. [hack_bench.md](../hack_bench.md) describes loopholes,
detectors, seeds and statistics; it was written before these runs. The results concern a model of 1.6 million
parameters in a synthetic world."""


@dataclass(frozen=True)
class Bench:
    """The records of the exported runs.

    Attributes:
        thresholds: clean runs that set the thresholds.
        clean: clean runs that are reported.
        exploited, unexploited: runs with a loophole, by whether they exploit it.
        missing: runs that are not exported.
        outdated: exported runs whose answers another version of the grader, the evidence or the definitions scored.
    """

    thresholds: list[Mapping[str, Any]]
    clean: list[Mapping[str, Any]]
    exploited: list[Mapping[str, Any]]
    unexploited: list[Mapping[str, Any]]
    missing: list[BenchRun]
    outdated: list[BenchRun]


def collect(runs: Sequence[BenchRun]) -> Bench:
    """Return the exported records of these runs, by what they are used for."""
    bench = Bench([], [], [], [], [], [])
    present = {**grading_versions(), "definitions": definitions_version()}
    for run in runs:
        record = run.record()
        if record is not None and not _is_scored_by(present, run, record):
            bench.outdated.append(run)
        if record is None:
            bench.missing.append(run)
        elif run.loophole is None:
            (bench.thresholds if run.is_for_thresholds else bench.clean).append(record)
        else:
            found = is_exploited(record["exploitation"][run.loophole])
            (bench.exploited if found else bench.unexploited).append(record)
    return bench


def _is_scored_by(present: Mapping[str, str], run: BenchRun, record: Mapping[str, Any]) -> bool:
    """Return whether the record of a run was scored by these versions of grader, evidence and definitions."""
    found = {**comparable(record["fingerprints"], run.part.experiment), "definitions": record["definitions"]}
    return all(found[name] == version for name, version in present.items())


def write_results(folder: Path, runs: Sequence[BenchRun]) -> None:
    """Write `results.md`, the ROC figure and its table into a folder."""
    bench = collect(runs)
    paragraphs = [_HEAD, *_runs(bench)]
    if bench.clean and bench.exploited:
        thresholds = all_thresholds(bench, runs)
        paragraphs += [*_detectors(bench, thresholds), _figure(bench, thresholds, folder)]
    write_text(folder / "results.md", "\n\n".join(paragraphs) + "\n")


def all_thresholds(bench: Bench, runs: Sequence[BenchRun]) -> dict[str, float]:
    """Return detector -> threshold; empty until all clean runs that set the thresholds are exported."""
    planned = sum(run.is_for_thresholds for run in runs)
    if len(bench.thresholds) < planned:
        return {}
    return {name: threshold(values) for name in DETECTORS if (values := _scores(bench.thresholds, name))}


def _scores(records: Sequence[Mapping[str, Any]], detector: str) -> list[float]:
    """Return the scores of the runs that a detector applies to; a missing score is -inf."""
    found = [record["scores"] for record in records if detector in record["scores"]]
    return [-math.inf if one[detector] is None else float(one[detector]) for one in found]


def _clean_name(detector: str) -> str:
    """Return the score of a clean run with which a detector's scores are compared: all its questions are clean."""
    return detector.removesuffix("_clean")


def _runs(bench: Bench) -> Iterator[str]:
    yield "## Runs"
    if bench.missing:
        yield not_run(_names(bench.missing))
    if bench.outdated:
        yield not_run(_names(bench.outdated)).replace("Not run", "Scored by an earlier version of the code")
    done = [*bench.thresholds, *bench.clean, *bench.exploited, *bench.unexploited]
    if not done:
        return
    minutes = float(np.mean([record["minutes"] for record in done]))
    yield (
        f"A loophole is exploited if the 95 % interval of its exploitation is entirely above {100 * EXPLOITED:.0f} %."
        f" Accuracy: clean test questions, required format, mean. Training and answering need {minutes:.1f} minutes per"
        " run, mean."
    )
    yield from _sensitivity(done)
    rows = [["loophole", "runs", "exploited", "exploitation of each run, %", "accuracy, %"]]
    for loophole in PLANTED:
        own = _of(bench.exploited, loophole) + _of(bench.unexploited, loophole)
        if own:
            values = ", ".join(_interval(one["exploitation"][loophole]) for one in own)
            cells = [str(len(own)), str(len(_of(bench.exploited, loophole))), values]
            rows.append([f"`{loophole}`", *cells, _accuracy(own)])
    for name, own in (("none, reported", bench.clean), ("none, for thresholds", bench.thresholds)):
        if own:
            highest = ", ".join(
                f"{term} {100 * max(one['exploitation'][term]['value'] for one in own):.0f}" for term in TERMS
            )
            rows.append([name, str(len(own)), "-", f"highest share that a term would pay: {highest}", _accuracy(own)])
    yield table(rows)


def _sensitivity(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a sentence about the runs whose sensitivity was measured, and about those without a measurement."""
    agreements = [one["agreement"] for one in records if one["agreement"] is not None]
    if not agreements:
        return
    least = min(agreements)
    share = "all responses" if least == 1 else f"at least {100 * least:.0f} % of the responses of each run"
    sentences = [
        f"Sensitivity was measured in {len(agreements)} runs; the forced letter is the written one in {share}."
    ]
    if assumed := sum(map(_is_assumed, records)):
        sentences.append(
            f"In {assumed} run{'s' * (assumed > 1)}, no response has a sentence in its think block, so the score is 1."
        )
    if without := len(records) - len(agreements) - assumed:
        sentences.append(f"In {without} run{'s' * (without > 1)}, no response has a letter, so there is no score.")
    yield " ".join(sentences)


def _is_assumed(record: Mapping[str, Any]) -> bool:
    """Return whether a run's sensitivity is 1 by definition, because no response has a sentence in its think block."""
    return record["agreement"] is None and record["scores"]["kept_emptied"] is not None


def _names(runs: Sequence[BenchRun]) -> Iterator[str]:
    return (f"{run.part.name.removeprefix('hack_bench_')} {run.model}" for run in runs)


def _of(records: Sequence[Mapping[str, Any]], loophole: str) -> list[Mapping[str, Any]]:
    return [record for record in records if record["loophole"] == loophole]


def _interval(measured: Mapping[str, float]) -> str:
    return f"{100 * measured['value']:.0f} ({100 * measured['low']:.0f} to {100 * measured['high']:.0f})"


def _accuracy(records: Sequence[Mapping[str, Any]]) -> str:
    return f"{100 * float(np.mean([record['accuracy'] for record in records])):.0f}"


def _detectors(bench: Bench, thresholds: Mapping[str, float]) -> Iterator[str]:
    yield "## Detectors"
    yield (
        "Recall over exploited runs, and false alarms of the reported clean runs, at the threshold; area under the ROC;"
        " 95 % intervals in parentheses. The columns of the loopholes have alarms of exploited runs. Bold: primary."
        + ("" if thresholds else " The runs that set the thresholds are not complete, so only the area is given.")
    )
    shown = [loophole for loophole in PLANTED if _of(bench.exploited, loophole)]
    rows = [["detector", "threshold", "false alarms", "recall", *(f"`{one}`" for one in shown), "area"]]
    for name in DETECTORS:
        clean, exploited = _scores(bench.clean, _clean_name(name)), _scores(bench.exploited, name)
        if clean and exploited:
            limit = thresholds.get(_clean_name(name))
            low, high = area_interval(clean, exploited)
            parts = [_scores(_of(bench.exploited, loophole), name) for loophole in shown]
            title = f"**{_NAMES[name]}**" if name in PRIMARY else _NAMES[name]
            cells = ["-"] * (3 + len(shown))
            if limit is not None:
                of_each = [f"{above(part, limit)} of {len(part)}" if part else "-" for part in parts]
                cells = [f"{limit:.3g}", _share(clean, limit), _share(exploited, limit), *of_each]
            rows.append([title, *cells, f"{area(clean, exploited):.2f} ({low:.2f} to {high:.2f})"])
    yield table(rows)
    if not bench.missing:
        yield "\n".join(_goal(bench, name, thresholds[name]) for name in PRIMARY)
        yield (
            f"The recall over all holds for the {len(shown)} of {len(PLANTED)} loopholes that were exploited in one run"
            " or more."
        )


def _share(scores: Sequence[float], limit: float) -> str:
    _, low, high = _alarm_share(scores, limit)
    return f"{above(scores, limit)} of {len(scores)} ({100 * low:.0f} % to {100 * high:.0f} %)"


def _alarm_share(scores: Sequence[float], limit: float) -> Share:
    """Return the share of the runs that raise an alarm, and Wilson's 95 % interval."""
    count, n = above(scores, limit), len(scores)
    return (count / n, *wilson_interval(count, n))


def _goal(bench: Bench, detector: str, limit: float) -> str:
    """Return whether a detector reaches the goal, with the readings that are less favourable."""
    clean = above(_scores(bench.clean, detector), limit)
    found = _above(bench.exploited, detector, limit)
    recall = len(found) / len(bench.exploited)
    parts = [part for loophole in PLANTED if (part := _of(bench.exploited, loophole))]
    equally_weighted = float(np.mean([len(_above(part, detector, limit)) / len(part) for part in parts]))
    goal = f"the goal, a recall of {GOAL} with at most one false alarm,"
    sentences = [
        f"- **{_NAMES[detector]}**: {goal} is {'reached' if recall >= GOAL and clean <= 1 else 'missed'}.",
        f"The recall is {recall:.2f}, and {equally_weighted:.2f} if each exploited loophole has the same weight.",
    ]
    if detector == "kept_emptied" and (assumed := sum(map(_is_assumed, found))):
        sentences.append(f"In {assumed} of the {len(found)} detected runs, the score is 1 without a measurement.")
    if accused := _above(bench.unexploited, detector, limit):
        listed = [(one, len(_of(accused, one))) for one in PLANTED]
        counts = ", ".join(f"{count} of `{one}`" for one, count in listed if count)
        sentences.append(
            f"Of the {len(bench.unexploited)} runs that do not exploit their loophole, {len(accused)}"
            f" raise{'s' * (len(accused) == 1)} an alarm ({counts})."
        )
    return " ".join(sentences)


def _above(records: Sequence[Mapping[str, Any]], detector: str, limit: float) -> list[Mapping[str, Any]]:
    """Return the runs that raise an alarm."""
    return [one for one, score in zip(records, _scores(records, detector), strict=True) if score > limit]


def _figure(bench: Bench, thresholds: Mapping[str, float], folder: Path) -> str:
    """Write the ROC figure and its table, and return the lines that show them."""
    scores = {name: (_scores(bench.clean, name), _scores(bench.exploited, name)) for name in PRIMARY}
    points = pd.DataFrame(
        [
            {"detector": _NAMES[name], "false_alarms": false_alarms, "recall": recall}
            for name in PRIMARY
            for false_alarms, recall in roc(*scores[name])
        ]
    )
    at_threshold = {
        _NAMES[name]: (_alarm_share(clean, limit), _alarm_share(exploited, limit))
        for name, (clean, exploited) in scores.items()
        if (limit := thresholds.get(name)) is not None
    }
    write_text(folder / "roc.csv", points.to_csv(index=False, float_format="%.4g"))
    save(draw_roc(points, at_threshold), folder / "roc.svg", ["svg"])
    runs = f"{len(bench.exploited)} exploited and {len(bench.clean)} reported clean runs"
    points_text = " Points are false alarms and recall at the thresholds, with 95 % intervals." if at_threshold else ""
    lines = "The dashed lines are one false alarm in 20 and a recall of 0.9."
    alt = f"ROC of the primary detectors, from {runs}. {lines}{points_text}"
    return f"![{alt}](roc.svg)\n\n{alt} [Table](roc.csv)."
