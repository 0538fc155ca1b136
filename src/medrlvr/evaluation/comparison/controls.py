"""Compare each benchmark with its controls: the same questions with other options or another order of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medrlvr.config.design import ComparisonDesign
from medrlvr.data.row_parsing import NONE_OF_THE_ABOVE, normalise_text
from medrlvr.evaluation.comparison.predictions import Predictions, PredictionTables, Reading
from medrlvr.evaluation.statistics import Resamples, Values
from medrlvr.grading.letters import LETTERS


def compare_controls(
    predictions: PredictionTables,
    questions: Mapping[str, pd.DataFrame],
    clusters: pd.DataFrame,
    design: ComparisonDesign,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return one record per control and model: its accuracy and the benchmark's, on the same questions.

    `any_letter` has the accuracies and their difference if any readable letter counts. `moved` counts the questions
    that are answered in both sets and whose answered option has another letter in the control. `same_text` and
    `same_letter` are the fractions of these whose answer keeps the content, or the letter.
    `none` is the share of the control's answers that are "None of the above".

    Args:
        questions: benchmark or control -> question_id, options.
    """
    known = clusters.set_index("question_id")["cluster"]
    records = []
    for name, (benchmark, control) in design.sets.items():
        if control is None:
            continue
        plain, varied = (Predictions(predictions, asked, design) for asked in (benchmark, name))
        drawn = Resamples(known.loc[plain.questions].tolist(), resamples, seed)
        shown = [list(options) for options in questions[name].set_index("question_id").loc[plain.questions, "options"]]
        for (model, mode), after in varied.tables.items():
            before, after = plain.tables[model, mode], after.loc[plain.questions]
            letters = [
                LETTERS[options.index(text)] if options.count(text) == 1 else None
                for text, options in zip(before["answered"], shown, strict=True)
            ]
            new = pd.Series(letters, index=plain.questions)
            moved = new.notna() & (new != before["letter"]) & after["letter"].notna()
            records.append(
                {
                    "set": name,
                    "benchmark": benchmark,
                    "control": control,
                    "model": model,
                    "mode": mode,
                    "n": len(before),
                    **_changed(before, after, "correct", drawn),
                    "any_letter": _changed(before, after, "lenient_correct", drawn),
                    "moved": int(moved.sum()),
                    "same_text": float((after["letter"] == new)[moved].mean()) if moved.any() else None,
                    "none": float(after["answered"].map(_is_none).mean()),
                    "same_letter": float((after["letter"] == before["letter"])[moved].mean()) if moved.any() else None,
                }
            )
    return records


def _changed(before: pd.DataFrame, after: pd.DataFrame, reading: Reading, drawn: Resamples) -> dict[str, float]:
    """Return accuracy, control_accuracy and their difference with its interval (low, high), by one reading.

    Args:
        before, after: a model's predictions on the same questions, in the benchmark and in the control.
    """
    plain, varied = (table[reading].to_numpy(dtype=float) for table in (before, after))
    ((low, high),) = drawn.intervals(varied - plain, [0.95])
    return {
        "accuracy": float(plain.mean()),
        "control_accuracy": float(varied.mean()),
        "difference": float((varied - plain).mean()),
        "low": low,
        "high": high,
    }


def _is_none(answered: str | None) -> bool:
    return answered is not None and normalise_text(answered) == normalise_text(NONE_OF_THE_ABOVE)


def compare_shifts(
    predictions: PredictionTables, clusters: pd.DataFrame, design: ComparisonDesign, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record per benchmark with shifted controls and model, in its primary mode.

    Args:
        clusters: question_id and cluster.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        benchmark, model, mode, n; shifts (their number); complete, the share of questions all of whose orders are
        covered; accuracy in the original order; robust, the share right in the original order and in every shift, with
        its interval (low, high); independent, what `robust` would be if a question's orders were independent; and
        any_letter, the last five by any readable letter.
    """
    cluster_of = clusters.set_index("question_id")["cluster"]
    records = []
    for benchmark in design.benchmarks:
        shifts = [
            name
            for name, (of, control) in design.sets.items()
            if of == benchmark and (control or "").startswith("shift_")
        ]
        if not shifts:
            continue
        plain, *shifted = (Predictions(predictions, name, design) for name in (benchmark, *shifts))
        drawn = Resamples(cluster_of.loc[plain.questions].tolist(), resamples, seed)
        for model, mode in shifted[0].tables:
            tables = [one.tables[model, mode].loc[plain.questions] for one in (plain, *shifted)]
            records.append(
                {
                    "benchmark": benchmark,
                    "model": model,
                    "mode": mode,
                    "n": len(plain.questions),
                    "shifts": len(shifts),
                    "complete": float((tables[0]["options"] <= len(shifts) + 1).mean()),
                    **_robust(tables, "correct", drawn),
                    "any_letter": _robust(tables, "lenient_correct", drawn),
                }
            )
    return records


def _robust(tables: Sequence[pd.DataFrame], reading: Reading, drawn: Resamples) -> dict[str, float]:
    """Return accuracy, robust, low, high and independent, by one reading of the answers.

    Args:
        tables: a model's predictions in the original order, then in each shift.
    """
    right = np.array([table[reading].to_numpy(dtype=float) for table in tables])
    robust = right.min(axis=0)
    ((low, high),) = drawn.intervals(robust, [0.95])
    return {
        "accuracy": float(right[0].mean()),
        "robust": float(robust.mean()),
        "low": low,
        "high": high,
        "independent": _independent(right, tables[0]["options"].to_numpy()),
    }


def _independent(right: Values, options: NDArray[np.int64]) -> float:
    """Return the product of the accuracies in the different orders, among questions with equally many options.

    Args:
        right: shape (orders, n), 1 for a right answer: the original order, then shifts by 1, 2, ... places.
        options: shape (n,), number of options.
    """
    parts = []
    for number in np.unique(options):
        group = right[:number, options == number]
        parts.append(group.mean(axis=1).prod() * group.shape[1])
    return float(sum(parts) / len(options))
