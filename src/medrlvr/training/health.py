"""What must hold after training, or the run ends with an error: a process that ends well may have trained badly."""

from pathlib import Path

import numpy as np
import pandas as pd

from medrlvr.runtime.errors import UserError

ENGINE_KL_LIMIT = 2e-3
"""How far the mean log-probability of vLLM and trainer may lie apart, beyond what `check_engine` knows to expect.

Measured: 1e-7 in float32, 1e-4 in bfloat16, 2e-2 with weights one update old.
"""

BASE_KL_LIMIT = 2e-2
"""How far they may lie apart at update 1, where both hold the base; measured: 1e-5, and 7.5e-3 for SmolLM2-135M."""


def check_finite(metrics: pd.DataFrame, source: Path) -> None:
    """Require that no metric is NaN or infinite.

    Raises:
        UserError: names the metric, the update and the value of the first that is.
    """
    for name in metrics.columns:
        bad = metrics[~np.isfinite(metrics[name].astype(float))]
        if len(bad):
            row = bad.iloc[0]
            raise UserError(
                f"training diverged: {name} is {row[name]} at update {int(row['update'])}. Lower the learning rates."
                f" To train again from the beginning, delete {source}."
            )


def check_all(metrics: pd.DataFrame, total: int, source: Path) -> None:
    """Require metrics of every update from 1 to `total`.

    Raises:
        UserError: names the first update without.
    """
    missing = sorted(set(range(1, total + 1)).difference(metrics["update"]))
    if missing:
        raise UserError(
            f"{len(missing)} of {total} updates have no metrics, the first of them update {missing[0]}."
            f" To train again from the beginning, delete {source}."
        )


def check_engine(metrics: pd.DataFrame, source: Path) -> None:
    """Require that vLLM sampled from the weights that the trainer had.

    Both hold the base at update 1, so what they differ by there is no staleness. OpenRLHF forbids an empty response,
    and vLLM's probability of the first token is then without the base's wish to end at once. It counts once for each
    response, so its share in the mean over tokens follows the length. Twice of it is allowed, as prompts differ.

    Raises:
        UserError: vllm_kl is absent, beyond `BASE_KL_LIMIT` at update 1, or at a later one beyond what that leads to
            expect by more than `ENGINE_KL_LIMIT`.
    """
    if "vllm_kl" not in metrics:
        raise UserError(
            f"{source}: OpenRLHF did not report vllm_kl, so nothing shows that vLLM received the trained weights."
        )
    first = metrics[metrics["update"] == 1].iloc[0]
    expected = abs(first["vllm_kl"]) * first["response_length"] / metrics["response_length"]
    limits = (ENGINE_KL_LIMIT + 2 * expected).where(metrics["update"] > 1, BASE_KL_LIMIT)
    stale = metrics.assign(limit=limits)[~(metrics["vllm_kl"].abs() < limits)]
    if len(stale):
        row = stale.iloc[0]
        raise UserError(
            f"vllm_kl is {row['vllm_kl']:.2g} at update {int(row['update'])}, beyond {row['limit']:.2g}: vLLM sampled"
            " from other weights than those trained. They were not updated, or are rounded differently."
            f" To train again from the beginning, delete {source}."
        )
