"""Compare each benchmark with its controls: the same questions with other options or another order of them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.comparison.predictions import Predictions, PredictionTables
from medrlvr.evaluation.statistics import Resamples
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

    `moved` counts the questions that are answered in both sets and whose answered option has another letter in the
    control. `same_text` and `same_letter` are the fractions of these whose answer keeps the content, or the letter.

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
            gain = after["correct"].to_numpy(dtype=float) - before["correct"].to_numpy(dtype=float)
            ((low, high),) = drawn.intervals(gain, [0.95])
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
                    "n": len(gain),
                    "accuracy": float(before["correct"].mean()),
                    "control_accuracy": float(after["correct"].mean()),
                    "difference": float(gain.mean()),
                    "low": low,
                    "high": high,
                    "moved": int(moved.sum()),
                    "same_text": float((after["letter"] == new)[moved].mean()) if moved.any() else None,
                    "same_letter": float((after["letter"] == before["letter"])[moved].mean()) if moved.any() else None,
                }
            )
    return records
