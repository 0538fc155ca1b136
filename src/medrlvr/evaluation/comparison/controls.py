"""Compare each benchmark with its controls: the same questions with other options or another order of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medrlvr.config.design import ComparisonDesign
from medrlvr.data.controls import shift_options
from medrlvr.data.row_parsing import NONE_OF_THE_ABOVE, normalise_text
from medrlvr.evaluation.comparison.predictions import Predictions, PredictionTables, Reading
from medrlvr.evaluation.statistics import Resamples, Values, percentile_interval
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
    predictions: PredictionTables,
    questions: Mapping[str, pd.DataFrame],
    clusters: pd.DataFrame,
    design: ComparisonDesign,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return one record per benchmark with shifted controls and model, in its primary mode.

    Args:
        questions: benchmark or control -> question_id, options.
        clusters: question_id and cluster.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.

    Returns:
        benchmark, model, mode, n; shifts (their number); complete, the share of questions of which every cyclic order
        was shown; accuracy in the original order; robust, the share right in the original order and in every shift,
        with its interval (low, high); independent, what `robust` would be if a question's orders were independent;
        excess, `robust` minus `independent`, with its interval (excess_low, excess_high); and any_letter, the last
        eight by any readable letter.
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
        shown = [
            questions[name].set_index("question_id").loc[plain.questions, "options"].map(tuple).tolist()
            for name in (benchmark, *shifts)
        ]
        orders = [*zip(*shown, strict=True)]
        complete = [shift_options(of_one[0], len(of_one)) in of_one for of_one in orders]
        new = np.array([[order not in of_one[:place] for place, order in enumerate(of_one)] for of_one in orders]).T
        for model, mode in shifted[0].tables:
            tables = [one.tables[model, mode].loc[plain.questions] for one in (plain, *shifted)]
            records.append(
                {
                    "benchmark": benchmark,
                    "model": model,
                    "mode": mode,
                    "n": len(plain.questions),
                    "shifts": len(shifts),
                    "complete": float(np.mean(complete)),
                    **_robust(tables, new, "correct", drawn),
                    "any_letter": _robust(tables, new, "lenient_correct", drawn),
                }
            )
    return records


def _robust(
    tables: Sequence[pd.DataFrame], new: NDArray[np.bool_], reading: Reading, drawn: Resamples
) -> dict[str, float]:
    """Return the measures of `compare_shifts` from accuracy to excess_high, by one reading of the answers.

    Args:
        tables: a model's predictions in the original order, then in each shift.
        new: as for `_independent`.
    """
    right = np.array([table[reading].to_numpy(dtype=float) for table in tables])
    robust = right.min(axis=0)
    low, high = drawn.share_interval(robust)
    independent = float(_independent(right, new, lambda values: np.nanmean(values, keepdims=True))[0])
    excess = drawn.means(robust) - _independent(right, new, drawn.means)
    excess_low, excess_high = percentile_interval(excess, 0.95)
    return {
        "accuracy": float(right[0].mean()),
        "robust": float(robust.mean()),
        "low": low,
        "high": high,
        "independent": independent,
        "excess": float(robust.mean()) - independent,
        "excess_low": excess_low,
        "excess_high": excess_high,
    }


def _independent(right: Values, new: NDArray[np.bool_], means: Callable[[Values], Values]) -> Values:
    """Return the product of the accuracies in a question's different orders.

    The accuracies are those among the questions of which the same shifts have an order that was not shown before, as
    questions with equally many options.

    Args:
        right: shape (orders, n), 1 for a right answer: the original order, then shifts by 1, 2, ... places.
        new: shape (orders, n), whether the order differs from the earlier ones of the question.
        means: returns the mean without NaN, once or in each resample.
    """
    parts = []
    for kind in np.unique(new, axis=1).T:
        group = (new == kind[:, None]).all(axis=0)
        accuracies = [means(np.where(group, row, np.nan)) for row in right[kind]]
        share = means(group.astype(float))
        # A resample without a question of this kind has the share 0 and no accuracy.
        parts.append(np.where(share > 0, share * np.prod(accuracies, axis=0), 0.0))
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)
