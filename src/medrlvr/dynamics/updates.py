"""One row per update, from the rollouts, the trainer's metrics and the checkpoints' answers."""

from typing import Any

import numpy as np
import pandas as pd

from medrlvr.dynamics.grades import has_letters, is_unread
from medrlvr.dynamics.hack_monitor import indicators
from medrlvr.dynamics.responses import label_grades
from medrlvr.dynamics.stages import LABELS
from medrlvr.grading.evidence import COLUMNS
from medrlvr.grading.letters import LETTERS

TRAINER_METRICS = {
    "kl": "kl",
    "entropy_loss": "entropy",
    "policy_loss": "policy_loss",
    "critic_loss": "value_loss",
    "vllm_kl": "engine_kl",
    "ppo_clip_ratio": "clip_fraction",
    "is_filter_ratio": "weight_clip_fraction",
    "actor_grad_norm": "gradient_norm",
    "critic_grad_norm": "critic_gradient_norm",
    "timing/step_total": "seconds",
    "timing/generation": "sampling_seconds",
    "timing/make_experience": "scoring_seconds",
    "timing/ppo_train": "training_seconds",
}
"""OpenRLHF's name of a metric -> our name."""

RATES = ("correct", "lenient_correct", "valid_format", "strict_format", "truncated")
GRADED = ("letter", "rule", "correct", "lenient_letter", "lenient_correct")
KIND_GRADED = ("answer", "answer_rule", "value", "relative_error", "lenient_answer")
"""Further columns of `grade_checkpoints`, for numbers and texts."""
QUANTILES = {"p10": 0.1, "median": 0.5, "p90": 0.9}


def tabulate(
    rollouts: pd.DataFrame, labels: pd.DataFrame, trainer: pd.DataFrame, checkpoints: pd.DataFrame
) -> pd.DataFrame:
    """Return one row per update, in order; docs/metrics.md has every column.

    Args:
        rollouts: one row per sampled response, with `update`, `reward`, the parts of the reward, `response` and the
            grade.
        labels: as `label_responses` returns them, in the same order.
        trainer: one row per update, with `update` and OpenRLHF's metrics.
        checkpoints: as `summarise_checkpoints` returns it.

    Returns:
        update; metrics of its responses, which the model of the previous update sampled; the trainer's metrics; and, if
        the resulting model was saved, that model's metrics on held-out questions. Row 0 is the base and has only the
        last group.
    """
    responses = rollouts.assign(
        chars=rollouts["response"].str.len(),
        unparsed=is_unread(rollouts),
        tokens=labels["tokens"].to_numpy(),
        self_verification=labels["self_verifications"].gt(0).to_numpy(),
        **{f"stage_{name}": labels["label"].eq(name).to_numpy() for name in LABELS},
        **{f"letter_{letter}": rollouts["letter"].eq(letter) for letter in LETTERS},
    )
    checked: dict[str, Any] = {}
    if "reasons" in labels and labels["reasons"].notna().any():
        checked = {"false_fact": ~labels["evidence_fact"].fillna(True), "reasons": labels["reasons"]}
        values = {name: found.to_numpy(dtype=float, na_value=np.nan) for name, found in checked.items()}
        responses = responses.assign(**values)
    parts = [name for name in map(str, rollouts) if name.startswith("reward_")]
    means = ["reward", *parts, *RATES, "unparsed", "self_verification", "chars", "tokens"]
    letters = has_letters(rollouts)
    means += [*(f"stage_{name}" for name in LABELS), *(f"letter_{letter}" for letter in LETTERS if letters)]
    means += ["chars_before_think", *checked]
    groups = responses.groupby("update", sort=True)
    table = groups[means].mean()
    table.insert(0, "responses", groups.size())
    table.insert(2, "reward_sd", groups["reward"].std(ddof=0))
    for name, of in (
        ("chars_right", responses["correct"].astype(bool)),
        ("chars_wrong", ~responses["correct"].astype(bool)),
    ):
        table[name] = responses[of].groupby("update")["chars"].mean()
    table["equal_rewards"] = _equal_rewards(rollouts)
    for name in ("chars", "tokens"):
        for suffix, quantile in QUANTILES.items():
            table[f"{name}_{suffix}"] = groups[name].quantile(quantile)
    facts = (
        labels.drop(columns=["question_id", "sample", "label", *COLUMNS], errors="ignore")
        .groupby("update", sort=True)
        .mean()
    )
    rows: list[dict[str, float]] = [dict(zip(map(str, facts), row, strict=True)) for row in facts.to_numpy().tolist()]
    meter = pd.DataFrame([indicators(row) for row in rows], index=facts.index)
    if not letters:
        meter = meter.drop(columns="position_bias")
    reported = {theirs: ours for theirs, ours in TRAINER_METRICS.items() if theirs in trainer}
    table = table.join(meter).join(trainer.set_index("update")[[*reported]].rename(columns=reported))
    if "value_loss" in table:
        # OpenRLHF's value loss is half the mean squared error. NaN if all rewards are the same.
        table["explained_variance"] = 1 - 2 * table["value_loss"] / (table["reward_sd"] ** 2).replace(0, np.nan)
    if {"surprisal", "surprisal_right", "correct"} <= {*trainer}:
        table = table.join(_surprisal(trainer.set_index("update")))
    if "seconds" in table:
        table["samples_per_second"] = table["responses"] / table["seconds"]
    return table.join(_wide(checkpoints), how="outer").reset_index(names="update")


def _equal_rewards(rollouts: pd.DataFrame) -> "pd.Series[float]":
    """Return, for each update, the share of prompts whose rewards are all equal, of those with several responses.

    Estimators that compare the responses to one prompt learn nothing from such a prompt.
    """
    prompts = rollouts.groupby(["update", "question_id"])["reward"].agg(["size", "nunique"])
    several = prompts[prompts["size"] > 1]
    return several["nunique"].eq(1).astype(float).groupby("update").mean()


def _surprisal(trainer: pd.DataFrame) -> pd.DataFrame:
    """Return the mean surprisal of right and of wrong responses, in nats per token.

    Args:
        trainer: by update, the trainer's means over responses: `surprisal`, `correct`, and the mean of their product,
            `surprisal_right`.
    """
    right, product = trainer["correct"], trainer["surprisal_right"]
    means = {
        "right": product / right.replace(0, np.nan),
        "wrong": (trainer["surprisal"] - product) / (1 - right).replace(0, np.nan),
    }
    return pd.DataFrame({f"surprisal_{name}": values for name, values in means.items()})


def _wide(checkpoints: pd.DataFrame) -> pd.DataFrame:
    values = [name for name in checkpoints if name not in ("update", "set")]
    table = checkpoints.pivot(index="update", columns="set", values=values)
    table.columns = ["_".join(column) for column in table.columns.tolist()]
    return table


def grade_checkpoints(scores: pd.DataFrame, updates: dict[str, int]) -> pd.DataFrame:
    """Return the grade and the stage label of each checkpoint's answer to each held-out question, without its text.

    Args:
        scores: as `evaluation.score.score_answers` returns them.
        updates: path of the model folder -> number of its updates; 0 is the base.
    """
    rows = scores.assign(update=scores["model"].map(updates), set=scores["benchmark"], label=label_grades(scores))
    rows = rows.sort_values(["update", "set"], kind="stable", ignore_index=True)
    further = [name for name in KIND_GRADED if name in rows]
    return rows[["update", "set", "question_id", "sample", "label", *GRADED, *further]]


def summarise_checkpoints(scores: pd.DataFrame, updates: dict[str, int]) -> pd.DataFrame:
    """Return metrics of each checkpoint on each set of held-out questions, with greedy decoding.

    Args:
        scores: as `evaluation.score.score_answers` returns them, one answer per question.
        updates: path of the model folder -> number of its updates; 0 is the base.

    Returns:
        update, set, n; accuracy, lenient_accuracy, strict_format, unparsed (fractions); chars and tokens (mean per
        response); invented and reasons (fractions), if the check of the reasoning
        knows them.
    """
    rows = scores.assign(
        update=scores["model"].map(updates),
        unparsed=is_unread(scores),
        chars=scores["response"].str.len(),
    )
    columns: dict[str, Any] = {
        "n": ("correct", "size"),
        "accuracy": ("correct", "mean"),
        "lenient_accuracy": ("lenient_correct", "mean"),
        "strict_format": ("strict_format", "mean"),
        "unparsed": ("unparsed", "mean"),
        "chars": ("chars", "mean"),
        "tokens": ("response_tokens", "mean"),
    }
    if "reasons" in rows:
        found = {"invented": rows["evidence_invented"].gt(0), "reasons": rows["reasons"]}
        shares = {name: share for name, share in found.items() if share.notna().any()}
        rows = rows.assign(**{name: share.to_numpy(dtype=float, na_value=np.nan) for name, share in shares.items()})
        columns |= {name: (name, "mean") for name in shares}
    means: pd.DataFrame = rows.groupby(["update", "benchmark"], sort=True).agg(**columns)
    return means.reset_index().rename(columns={"benchmark": "set"})
