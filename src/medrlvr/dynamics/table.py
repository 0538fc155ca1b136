"""One row per update, from the rollouts and the trainer's own metrics."""

import pandas as pd

TRAINER_METRICS = {
    "kl": "kl",
    "policy_loss": "policy_loss",
    "critic_loss": "value_loss",
    "vllm_kl": "engine_kl",
    "ppo_clip_ratio": "clip_fraction",
    "actor_grad_norm": "gradient_norm",
    "timing/step_total": "seconds",
}
"""OpenRLHF's names and ours."""


def tabulate(rollouts: pd.DataFrame, trainer: pd.DataFrame) -> pd.DataFrame:
    """Return one row per update, in order.

    Args:
        rollouts: one row per sampled response, with `update`, `reward`, `response` and the fields of `Grade`.
        trainer: one row per update, with `update` and OpenRLHF's metrics.

    Returns:
        update, responses, reward (mean, -1 to 1); fractions valid_format, strict_format, correct, lenient_correct;
        chars (mean, median, 90th percentile) of the response; chars_before_think, think_chars (means); and from the
        trainer, where it reports them, the columns of `TRAINER_METRICS`.
    """
    groups = rollouts.assign(chars=rollouts["response"].str.len()).groupby("update", sort=True)
    table = groups.agg(
        responses=("reward", "size"),
        reward=("reward", "mean"),
        valid_format=("valid_format", "mean"),
        strict_format=("strict_format", "mean"),
        correct=("correct", "mean"),
        lenient_correct=("lenient_correct", "mean"),
        chars=("chars", "mean"),
        chars_median=("chars", "median"),
        chars_p90=("chars", lambda chars: chars.quantile(0.9)),
        chars_before_think=("chars_before_think", "mean"),
        think_chars=("think_chars", "mean"),
    ).reset_index()
    reported = {theirs: ours for theirs, ours in TRAINER_METRICS.items() if theirs in trainer}
    return table.merge(trainer[["update", *reported]].rename(columns=reported), on="update", how="left")
