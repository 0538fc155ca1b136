"""Predictions of all models on one benchmark, aligned by question."""

from collections.abc import Mapping
from typing import Literal

import pandas as pd

from medrlvr.config.design import ComparisonDesign, System
from medrlvr.evaluation.statistics import Interval, Values

PredictionTables = Mapping[str, pd.DataFrame]
"""Model -> table as `majority_vote` returns it."""
Reading = Literal["correct", "lenient_correct"]
"""Which answers count: those in the required format, or any readable letter."""


class Predictions:
    """Correct and wrong answers of every model on one benchmark, in one order of questions."""

    def __init__(self, predictions: PredictionTables, benchmark: str, design: ComparisonDesign) -> None:
        tables = {
            (model, mode): table[(table["benchmark"] == benchmark) & (table["mode"] == mode)].set_index("question_id")
            for arm, models in design.models.items()
            for model in models
            for table in [predictions[model]]
            for mode in design.modes[arm]
        }
        tables = {key: table for key, table in tables.items() if len(table)}
        self.questions = next(iter(tables.values())).index
        self.tables = {key: table.loc[self.questions] for key, table in tables.items()}
        self._design = design

    def correct(self, system: System, reading: Reading = "correct") -> list[Values]:
        """Return one array per seed: shape (n,), 1 for a correct answer and 0 for a wrong one."""
        return [
            self.tables[model, system.mode][reading].to_numpy(dtype=float) for model in self._design.models[system.arm]
        ]


def interval_ends(interval: Interval | None) -> dict[str, float] | None:
    """Return an interval as the fields `low` and `high` of a record."""
    return interval and {"low": interval[0], "high": interval[1]}
