"""Checks during and after training that end the run with an error: a trainer may exit normally but train badly."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from medrlvr.runtime.errors import UserError
from medrlvr.training.resume.checkpoints import MODEL, complete_updates

ENGINE_KL_LIMIT = 2e-3
"""Limit of engine_kl beyond the difference that `check_engine` expects.

engine_kl (OpenRLHF's vllm_kl) is the mean difference between the log-probabilities of vLLM and the trainer. Measured:
1e-7 in float32, 1e-4 in bfloat16, 2e-2 with weights one update old.
"""

BASE_KL_LIMIT = 2e-2
"""Limit of engine_kl at update 1, where both hold the base model; measured: 1e-5, and 7.5e-3 for SmolLM2-135M."""


KL_LIMIT = 10.0
"""Limit of the mean KL estimate per token, in nats, at which the training has diverged. Beyond it, the policy gives the
tokens that it samples e^10 times the probability that the base gives them."""


def divergence(row: Mapping[str, float]) -> str | None:
    """Return what shows that the training diverged in an update's metrics, such as "kl is nan", or None."""
    bad = next((name for name, value in row.items() if not math.isfinite(value)), None)
    if bad is None and abs(row.get("kl", 0.0)) > KL_LIMIT:
        bad = "kl"
    return None if bad is None else f"{bad} is {row[bad]:.4g}"


def first_divergence(rows: Iterable[Mapping[str, float]]) -> int | None:
    """Return the first update whose metrics show that the training diverged, or None."""
    return next((int(row["update"]) for row in rows if divergence(row)), None)


def check_update(row: Mapping[str, float], total: int, checkpoints: Path) -> None:
    """Require that an update is in the plan and that its metrics are finite.

    Args:
        row: the update and its metrics.
        total: number of updates in the plan.
        checkpoints: folder of the trainer's checkpoints.

    Raises:
        UserError: the trainer continued after the last planned update, or the training diverged.
    """
    update = int(row["update"])
    if update > total:
        raise UserError(
            f"the trainer started update {update} of a plan of {total}, so training was stopped. This is a bug in"
            f" medrlvr. To train again from scratch, delete {checkpoints.parent}."
        )
    what = divergence(row)
    if what is not None:
        good = max((saved for saved in complete_updates(checkpoints, [MODEL]) if saved < update), default=0)
        kept = f"The last good checkpoint is the one after update {good}" if good else "There is no earlier checkpoint"
        raise UserError(
            f"training diverged, so it was stopped: {what} at update {update}. {kept} in {checkpoints}."
            " The same command resumes from it with other random numbers. If training diverges again, lower the arm's"
            " learning rates or raise its kl_coefficient; a changed setting starts from scratch."
        )


def check_finite(metrics: pd.DataFrame, source: Path) -> None:
    """Require that all metrics are finite.

    Raises:
        UserError: a metric is NaN or infinite; the message names the first one, its update and its value.
    """
    for name in metrics.columns:
        bad = metrics[~np.isfinite(metrics[name].astype(float))]
        if len(bad):
            row = bad.iloc[0]
            raise UserError(
                f"training diverged: {name} is {row[name]} at update {int(row['update'])}. Lower the learning rates."
                f" To train again from scratch, delete {source}."
            )


def check_all(metrics: pd.DataFrame, total: int, source: Path) -> None:
    """Require metrics of every update from 1 to `total`.

    Raises:
        UserError: an update has no metrics; the message names the first one.
    """
    missing = sorted(set(range(1, total + 1)).difference(metrics["update"]))
    if missing:
        raise UserError(
            f"{len(missing)} of {total} updates have no metrics in {source}; the first is update {missing[0]}."
            f" To train again from scratch, delete {source}."
        )


def check_engine(metrics: pd.DataFrame, source: Path) -> None:
    """Require that vLLM sampled from the trainer's current weights.

    At update 1 both hold the base model, so a difference there does not mean stale weights. OpenRLHF forbids empty
    responses, so vLLM's distribution of the first token excludes the end of text, which the base model may prefer. This
    difference occurs once per response, so its share of the mean over tokens depends on the response length. Twice the
    expected difference is allowed, because prompts differ.

    Raises:
        UserError: engine_kl is missing, exceeds `BASE_KL_LIMIT` at update 1, or at a later update exceeds twice the
            expected difference by `ENGINE_KL_LIMIT` or more.
    """
    if "vllm_kl" not in metrics:
        raise UserError(
            f"{source}: OpenRLHF did not report engine_kl (its vllm_kl), so nothing shows that vLLM received the"
            " trained weights. Check that the pinned versions are installed (`make setup`, on GPUs `make setup-gpu`)."
        )
    first = metrics[metrics["update"] == 1].iloc[0]
    expected = abs(first["vllm_kl"]) * first["response_length"] / metrics["response_length"]
    limits = (ENGINE_KL_LIMIT + 2 * expected).where(metrics["update"] > 1, BASE_KL_LIMIT)
    stale = metrics.assign(limit=limits)[~(metrics["vllm_kl"].abs() < limits)]
    if len(stale):
        row = stale.iloc[0]
        raise UserError(
            f"engine_kl (OpenRLHF's vllm_kl) is {row['vllm_kl']:.2g} at update {int(row['update'])}, not within"
            f" ±{row['limit']:.2g}: vLLM did not sample from the trained weights. Its weights were not updated, or are"
            f" rounded differently. Check that the pinned versions are installed. To train again from scratch, delete"
            f" {source}."
        )
