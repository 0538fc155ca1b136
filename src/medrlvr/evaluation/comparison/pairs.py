"""Compare pairs of systems on the same questions: differences, intervals over questions and seeds, McNemar tests."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medrlvr.config.design import ComparisonDesign, System
from medrlvr.evaluation.comparison.predictions import Predictions, PredictionTables, Reading, interval_ends
from medrlvr.evaluation.statistics import Resamples, Values, compare_pair, holm, hull, seed_interval

CONFIDENCES = (0.95, 0.9)
"""Confidence of differences, and of the parity test: two one-sided tests at 5 % each equal one 90 % interval."""


def compare_systems(
    predictions: PredictionTables, clusters: pd.DataFrame, design: ComparisonDesign, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record per benchmark and pair of `design.pairs`, as docs/metrics.md describes it.

    Args:
        clusters: question_id; `cluster`, shared by questions that are duplicates of each other; `repeats`, the id of
            the question that it repeats (its own id if it is the first).
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    known = clusters.set_index("question_id")
    records: list[dict[str, Any]] = []
    for benchmark in design.benchmarks:
        answers = Predictions(predictions, benchmark, design)
        groups = known.loc[answers.questions, "cluster"]
        distinct = ~known.loc[answers.questions, "repeats"].duplicated().to_numpy()
        drawn = Resamples(groups.tolist(), resamples, seed)
        drawn_distinct = Resamples(groups[distinct].tolist(), resamples, seed)
        for first, second, role in design.pairs():
            record = _compare(answers, design, first, second, drawn)
            once, once_any_letter = (
                _once(answers, first, second, distinct, drawn_distinct, reading)
                for reading in ("correct", "lenient_correct")
            )
            of_distinct = {"n": int(distinct.sum()), **once, "any_letter": once_any_letter}
            by_seed = record.pop("by_seed")
            records.append(
                {"benchmark": benchmark, "role": role, **record, "distinct": of_distinct, "by_seed": by_seed}
            )
    primary = [record for record in records if record["role"] == "primary"]
    for record, p in zip(primary, holm([record["by_seed"][0]["mcnemar_p"] for record in primary]), strict=True):
        record["holm_p"] = p
    return records


def _once(
    answers: Predictions, first: System, second: System, distinct: NDArray[np.bool_], drawn: Resamples, reading: Reading
) -> dict[str, float]:
    """Return the difference of two systems with its interval, by one reading, with each question counted once.

    Args:
        distinct: shape (n,), whether a question repeats no earlier one.
        drawn: resamples of the distinct questions.
    """
    ours, theirs = answers.correct(first, reading), answers.correct(second, reading)
    gain = (np.mean(ours, axis=0) - np.mean(theirs, axis=0))[distinct]
    ((low, high),) = drawn.intervals(gain, [0.95])
    return {"difference": float(gain.mean()), "low": low, "high": high}


def _compare(
    answers: Predictions, design: ComparisonDesign, first: System, second: System, drawn: Resamples
) -> dict[str, Any]:
    """Return the difference of two systems on one benchmark, by both readings, and the comparison of each seed."""
    models = zip(design.models[first.arm], answers.correct(first), strict=True)
    others = zip(design.models[second.arm], answers.correct(second), strict=True)
    return {
        "first": first._asdict() | {"models": list(design.models[first.arm])},
        "second": second._asdict() | {"models": list(design.models[second.arm])},
        "n": len(answers.questions),
        **_difference(answers, design, first, second, drawn, "correct"),
        "any_letter": _difference(answers, design, first, second, drawn, "lenient_correct"),
        "by_seed": [
            {"first": model, "second": other} | asdict(compare_pair(mine, other_correct, drawn))
            for (model, mine), (other, other_correct) in _matched(list(models), list(others))
        ],
    }


def _difference(
    answers: Predictions, design: ComparisonDesign, first: System, second: System, drawn: Resamples, reading: Reading
) -> dict[str, Any]:
    """Return a difference with its intervals over questions and over seeds, by one reading of the answers."""
    ours, theirs = answers.correct(first, reading), answers.correct(second, reading)
    gain = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
    over_questions = dict(zip(CONFIDENCES, drawn.intervals(gain, CONFIDENCES), strict=True))
    run, other_run = design.runs[first.arm], design.runs[second.arm]
    means, other_means = _means(ours, run), _means(theirs, other_run)
    over_seeds = {
        confidence: seed_interval(means, other_means, confidence, paired=run == other_run) for confidence in CONFIDENCES
    }
    return {
        "difference": float(gain.mean()),
        **{
            f"interval_{round(100 * confidence)}": interval_ends(hull(over_questions[confidence], interval))
            for confidence, interval in over_seeds.items()
        },
        "over_questions": interval_ends(over_questions[0.95]),
        "over_seeds": interval_ends(over_seeds[0.95]),
    }


def _means(seeds: Sequence[Values], run: str | None) -> list[float] | float:
    """Return an accuracy for each seed; for a model that was not trained and has no seeds, its one accuracy."""
    means = [float(correct.mean()) for correct in seeds]
    return means if run else means[0]


def _matched(first: list[Any], second: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Pair seeds in order, as many as both have; a single model is paired with each model of the other system."""
    longest = max(len(first), len(second))
    yield from zip(
        first * longest if len(first) == 1 else first, second * longest if len(second) == 1 else second, strict=False
    )
