"""Measures of sensitivity, by question and by checkpoint, as docs/controls.md defines them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from medrlvr.config.design import BLOCK_CHANGES
from medrlvr.evaluation.selection import update_of
from medrlvr.evaluation.statistics import Resamples, Values, wilson_interval
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.files import empty_table

MEASURES = (*(f"kept_{change}" for change in BLOCK_CHANGES), "position", "area", "agreement")
MEASURED_TYPES = {
    **dict.fromkeys(("model", "benchmark", "question_id"), pa.string()),
    "sentences": pa.int64(),
    **dict.fromkeys(("final", "written"), pa.string()),
    **dict.fromkeys(MEASURES, pa.float64()),
    "update": pa.int64(),
}
"""Column of the measured questions -> type."""


def option_probabilities(logprobs: Sequence[float]) -> Values:
    """Return the probabilities of the options, shape (options,), divided by their sum."""
    shifted = np.exp(np.asarray(logprobs, dtype=float) - max(logprobs))
    return np.asarray(shifted / shifted.sum(), dtype=float)


def measure_questions(probes: pd.DataFrame, answers: pd.DataFrame) -> pd.DataFrame:
    """Return one row per model, benchmark and question.

    Args:
        probes: as `build_probes` returns them.
        answers: model, benchmark, question_id (the probe's) and letter_logprobs.

    Returns:
        model, benchmark, question_id, sentences, final (letter), written (letter), MEASURES and update (the model's
        number of updates): a kept answer and agreement are 1 or 0, or missing if the intervention was not possible. The
        table is empty without probes.
    """
    keys = ["model", "benchmark", "question_id"]
    table = probes.merge(answers[[*keys, "letter_logprobs"]], on=keys)
    records = [
        {"model": model, "benchmark": name, "question_id": question, **_measures(rows), "update": update_of(str(model))}
        for (model, name, question), rows in table.groupby(["model", "benchmark", "question"], sort=False)
    ]
    return pd.DataFrame(records) if records else empty_table(MEASURED_TYPES)


def _measures(rows: pd.DataFrame) -> dict[str, Any]:
    """Return the measures of one question from its probes."""
    found = {
        (str(name), int(count)): option_probabilities(logprobs)
        for name, count, logprobs in zip(rows["intervention"], rows["sentences"], rows["letter_logprobs"], strict=True)
    }
    of = int(rows["of"].iloc[0])
    written = str(rows["letter"].iloc[0])
    final = int(found["full", of].argmax())
    path = [*(found["closed", count] for count in range(of)), found["full", of]]
    changed = {"emptied": path[0]} | {name: found[name, of] for name in BLOCK_CHANGES[1:] if (name, of) in found}
    return {
        "sentences": of,
        "final": LETTERS[final],
        "written": written,
        **{f"kept_{name}": _is(changed.get(name), final) for name in BLOCK_CHANGES},
        "position": _position([int(one.argmax()) == final for one in path]),
        "area": float(np.trapezoid([one[final] for one in path], dx=1 / of)),
        "agreement": float(LETTERS[final] == written),
    }


def _is(probabilities: Values | None, letter: int) -> float:
    return float("nan") if probabilities is None else float(probabilities.argmax() == letter)


def _position(leads: Sequence[bool]) -> float:
    """Return the fraction of the sentences from which on the final letter always leads.

    Args:
        leads: for 0, 1, ... and all sentences, whether it leads; the last is true.
    """
    behind = [count for count, leading in enumerate(leads) if not leading]
    return (behind[-1] + 1 if behind else 0) / (len(leads) - 1)


def summarise_measures(
    measured: pd.DataFrame, clusters: pd.DataFrame, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record per model, benchmark and measure: n, value, and its 95 % interval over question clusters.

    Args:
        measured: as `measure_questions` returns them.
        clusters: question_id and cluster.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    cluster_of = clusters.set_index("question_id")["cluster"]
    records: list[dict[str, Any]] = []
    for (model, benchmark), rows in measured.groupby(["model", "benchmark"], sort=False):
        for measure in MEASURES:
            values = rows.set_index("question_id")[measure].dropna()
            if len(values):
                drawn = Resamples(cluster_of.loc[values.index].tolist(), resamples, seed)
                numbers = np.asarray(values, dtype=np.float64)
                is_share = measure not in ("position", "area")
                low, high = drawn.share_interval(numbers) if is_share else drawn.intervals(numbers, [0.95])[0]
                found = {"n": len(values), "value": float(values.mean()), "low": low, "high": high}
                records.append({"model": model, "benchmark": benchmark, "measure": measure, **found})
    return records


def used_shares(probes: pd.DataFrame, systems: Mapping[tuple[str, str], int]) -> list[dict[str, Any]]:
    """Return for each model and benchmark the share of drawn questions whose response has a block to change.

    Args:
        probes: as `build_probes` returns them; a model without such a response has none.
        systems: model and benchmark -> number of drawn questions.

    Returns:
        records as those of `summarise_measures`, with the measure `used` and Wilson's interval.
    """
    counts = probes.groupby(["model", "benchmark"])["question"].nunique().to_dict()
    records = []
    for (model, benchmark), n in systems.items():
        used = int(counts.get((model, benchmark), 0))
        low, high = wilson_interval(used, n)
        numbers = {"n": n, "value": used / n, "low": low, "high": high}
        records.append({"model": model, "benchmark": benchmark, "measure": "used", **numbers})
    return records
