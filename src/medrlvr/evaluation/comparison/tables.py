"""Accuracies of all systems over training seeds, and all metrics as one table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign, System
from medrlvr.evaluation.comparison.predictions import Predictions, PredictionTables, Reading, interval_ends
from medrlvr.evaluation.statistics import seed_interval


def summarise_arms(predictions: PredictionTables, design: ComparisonDesign) -> list[dict[str, Any]]:
    """Return one record per benchmark and system: its accuracy over training seeds, in both readings."""
    records = []
    for benchmark in design.benchmarks:
        answers = Predictions(predictions, benchmark, design)
        for system in design.systems():
            trained = design.runs[system.arm] is not None
            records.append(
                {
                    "benchmark": benchmark,
                    **system._asdict(),
                    "seeds": len(design.models[system.arm]) if trained else 0,
                    "n": len(answers.questions),
                    **_over_seeds(answers, system, "correct", trained),
                    "any_letter": _over_seeds(answers, system, "lenient_correct", trained),
                }
            )
    return records


def _over_seeds(answers: Predictions, system: System, reading: Reading, trained: bool) -> dict[str, Any]:
    """Return accuracy (mean), lowest, highest, and the t-interval over_seeds, by one reading of the answers."""
    means = [float(correct.mean()) for correct in answers.correct(system, reading)]
    interval = seed_interval(means, 0.0, 0.95) if trained else None
    return {
        "accuracy": float(np.mean(means)),
        "lowest": min(means),
        "highest": max(means),
        "over_seeds": interval_ends(interval),
    }


def metrics_table(
    metrics: Mapping[str, Sequence[Mapping[str, Any]]], sanity: Mapping[str, Sequence[Mapping[str, Any]]]
) -> pd.DataFrame:
    """Return every accuracy: one row per benchmark or control, model, mode and stratum; trivial baselines are last.

    Args:
        metrics: model -> its records, as `summarise` returns them.
        sanity: benchmark or control -> trivial baselines, as `trivial_baselines` returns them.
    """
    rows = []
    for model, records in metrics.items():
        for record in records:
            key = {"benchmark": record["benchmark"], "model": model, "mode": record["mode"]}
            facts = {name: value for name, value in record.items() if not isinstance(value, dict | list)}
            rows.append({**key, "stratum": "all", "value": "", **facts})
            rows += [{**key, **stratum} for stratum in record["strata"]]
    for benchmark, policies in sanity.items():
        for policy in policies:
            key = {"benchmark": benchmark, "model": policy["policy"], "mode": "policy"}
            rows.append({**key, "stratum": "all", "value": "", "n": policy["n"], "accuracy": policy["accuracy"]})
            rows += [{**key, **stratum} for stratum in policy["strata"]]
    return pd.DataFrame(rows)
