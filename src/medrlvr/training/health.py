"""Checks during and after training that end the run with an error: a trainer may exit normally but train badly."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from medrlvr.runtime.errors import UserError
from medrlvr.training.resume.checkpoints import MODEL, complete_updates

ENGINE_KL_WARNING, ENGINE_KL_LIMIT = 2e-3, 2e-2
"""Limits of engine_kl beyond the difference that `check_engine` expects: above the first, a warning is printed; above
the second, training stops.

engine_kl (OpenRLHF's vllm_kl) is the mean difference between the log-probabilities of vLLM and the trainer. Measured:
1e-7 in float32, 1e-4 in bfloat16, 2e-2 with weights one update old. At update 1, where both hold the base model: 1e-5,
and 7.5e-3 for SmolLM2-135M.
"""

KL_LIMIT = 10.0
"""Limit of the mean KL estimate per token, in nats, at which the training has diverged. Beyond it, the policy gives the
tokens that it samples e^10 times the probability that the base gives them."""


def divergence(row: Mapping[str, float]) -> str | None:
    """Return what shows that the training diverged in an update's metrics, such as "kl is nan", or None."""
    bad = next((name for name, value in row.items() if not math.isfinite(value)), None)
    if bad is None and abs(row.get("kl", 0.0)) > KL_LIMIT:
        bad = "kl"
    return None if bad is None else f"{bad} is {row[bad]:.4g}"


def first_failure(rows: Sequence[Mapping[str, float]]) -> int | None:
    """Return the first update at which `check_update` stops a run because of its metrics, or None.

    Args:
        rows: the updates and their metrics, in order.
    """
    first = first_update(rows)
    failed = (row for row in rows if divergence(row) or _engine_excess(row, first) >= ENGINE_KL_LIMIT)
    return next((int(row["update"]) for row in failed), None)


def first_update(rows: Iterable[Mapping[str, float]]) -> Mapping[str, float] | None:
    """Return the metrics of update 1, or None if they were lost."""
    return next((row for row in rows if row["update"] == 1), None)


def check_update(
    row: Mapping[str, float], first: Mapping[str, float] | None, total: int, checkpoints: Path
) -> str | None:
    """Require that an update is in the plan, that its metrics are finite and that vLLM had the trainer's weights.

    Args:
        row: the update and its metrics.
        first: those of update 1; None if they were lost.
        total: number of updates in the plan.
        checkpoints: folder of the trainer's checkpoints.

    Returns:
        a warning that `check_engine` returns, or None.

    Raises:
        UserError: the trainer continued after the last planned update, the training diverged, or vLLM had other
            weights.
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
        kept, again = "There is no earlier checkpoint", "starts from scratch"
        if good:
            kept, again = f"The last good checkpoint is the one after update {good}", "resumes from it"
        raise UserError(
            f"training diverged, so it was stopped: {what} at update {update}. {kept} in {checkpoints}. The same"
            f" command {again} with other random numbers. If training diverges again, lower the arm's learning rates or"
            " raise its kl_coefficient; a changed setting starts from scratch."
        )
    return check_engine(row, first, checkpoints.parent)


def check_finite(metrics: pd.DataFrame, source: Path) -> None:
    """Require that all metrics are finite.

    Raises:
        UserError: a metric is NaN or infinite; the message names the first one, its update and its value.
    """
    for name in metrics.columns:
        bad = metrics[~np.isfinite(metrics[name].astype(float))]
        if len(bad):
            row = bad.iloc[0]
            raise _diverged(name, row[name], f"update {int(row['update'])}", source)


def check_loss(loss: float, place: str, source: Path) -> None:
    """Require that the loss of SFT is finite.

    Args:
        place: batch and epoch, for the message.
        source: the run's state folder.

    Raises:
        UserError: it is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise _diverged("gpt_loss", loss, place, source)


def _diverged(name: str, value: float, place: str, source: Path) -> UserError:
    return UserError(
        f"training diverged: {name} is {value} at {place}. Lower the learning rates. To train again from scratch,"
        f" delete {source}."
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


def check_engine(row: Mapping[str, float], first: Mapping[str, float] | None, source: Path) -> str | None:
    """Require that vLLM sampled an update's responses from the trainer's current weights.

    At update 1 both hold the base model, so a difference there does not mean stale weights. OpenRLHF forbids empty
    responses, so vLLM's distribution of the first token excludes the end of text, which the base model may prefer. This
    difference occurs once per response, so its share of the mean over tokens depends on the response length. Twice the
    expected difference is allowed, because prompts differ.

    Args:
        row: the update and its metrics.
        first: those of update 1; None if they were lost, and no difference is expected.
        source: the run's state folder.

    Returns:
        a warning if engine_kl is between the two limits at update 2 or later, or None.

    Raises:
        UserError: engine_kl is missing, or exceeds what is expected by `ENGINE_KL_LIMIT` or more.
    """
    if "vllm_kl" not in row:
        raise UserError(
            f"{source}: OpenRLHF did not report engine_kl (its vllm_kl), so nothing shows that vLLM received the"
            " trained weights. Check that the pinned versions are installed (`make setup`, on GPUs `make setup-gpu`)."
        )
    excess, update = _engine_excess(row, first), int(row["update"])
    if excess < ENGINE_KL_WARNING or (update == 1 and excess < ENGINE_KL_LIMIT):
        return None
    warning, limit = (_expected_twice(row, first) + bound for bound in (ENGINE_KL_WARNING, ENGINE_KL_LIMIT))
    what = f"engine_kl (OpenRLHF's vllm_kl) is {row['vllm_kl']:.2g} at update {update}, not within"
    if excess < ENGINE_KL_LIMIT:
        return (
            f"{what} ±{warning:.2g}: vLLM rounds the weights differently from the trainer, or has other weights."
            f" Training stops beyond ±{limit:.2g}."
        )
    raise UserError(
        f"{what} ±{limit:.2g}: vLLM did not sample from the trained weights. Its weights were not updated, or are"
        " rounded differently. Check that the pinned versions are installed (`make setup`, on GPUs `make setup-gpu`)."
        " The same command resumes from the last checkpoint before this update. To train again from scratch, delete"
        f" {source}."
    )


def _engine_excess(row: Mapping[str, float], first: Mapping[str, float] | None) -> float:
    """Return by how much engine_kl exceeds twice the expected difference; negative if it does not."""
    return abs(row.get("vllm_kl", 0.0)) - _expected_twice(row, first)


def _expected_twice(row: Mapping[str, float], first: Mapping[str, float] | None) -> float:
    if first is None or row["update"] == 1:
        return 0.0
    return 2 * abs(first["vllm_kl"]) * first["response_length"] / row["response_length"]
