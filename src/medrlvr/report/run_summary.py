"""Summary of one RLVR run for the report: stages, indicator levels, examples, speed."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

LEVEL = 5
"""Updates whose responses are taken together where a level of an indicator is told."""


def describe_run(name: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """Return name, stages, levels of the reward-hacking monitor, and examples of first, middle and last update."""
    rollouts = files["rollouts"]
    updates = sorted(rollouts["update"].unique())
    shown = list(dict.fromkeys([updates[0], updates[len(updates) // 2], updates[-1]]))
    levels = describe_levels(files["dynamics"], list(files["stages"]["indicators"]))
    return {"name": name, "stages": files["stages"], "levels": levels, "examples": pick_examples(rollouts, shown)}


def describe_levels(dynamics: pd.DataFrame, indicators: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each indicator of the reward-hacking monitor the first, highest and last mean over `LEVEL` updates.

    Args:
        dynamics: as `dynamics.table.tabulate` returns it.

    Returns:
        name, first, most, last (means weighted by the responses of valid format, 0 where there are none), and at: the
        last update of those with the highest mean.
    """
    trained = dynamics[dynamics["responses"].notna()].reset_index(drop=True)
    weights = trained["responses"] * trained["valid_format"]
    sums = weights.rolling(LEVEL, min_periods=1).sum()
    rows = []
    for name in indicators:
        means = (trained[name].fillna(0) * weights).rolling(LEVEL, min_periods=1).sum() / sums.replace(0, float("nan"))
        whole = means.fillna(0).iloc[min(LEVEL, len(means)) - 1 :]
        at = int(trained["update"][whole.idxmax()])
        rows.append({"name": name, "first": whole.iloc[0], "most": whole.max(), "at": at, "last": whole.iloc[-1]})
    return rows


def pick_examples(rollouts: pd.DataFrame, updates: Sequence[int]) -> list[dict[Hashable, Any]]:
    """Return the first sampled response of each of `updates`: by position, so that nobody has chosen them."""
    rows = [rollouts[rollouts["update"] == update].head(1) for update in updates]
    return pd.concat(rows).to_dict("records")


def shown_examples(run: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    """Return update, question and sample of every response that a run's description shows."""
    stages = [stage["example"] for stage in run["stages"]["stages"] if stage["example"]]
    rows = [*stages, *run["stages"]["self_verification"]["examples"], *run["examples"]]
    return [(row["update"], row["question_id"], row["sample"]) for row in rows]


def describe_speed(name: str, dynamics: pd.DataFrame) -> dict[str, Any]:
    """Return a run's updates, responses and speed, over all updates but the first, which waits for what is loaded.

    Args:
        dynamics: as `dynamics.table.tabulate` returns it.
    """
    trained = dynamics[dynamics["responses"].notna()]
    warm = trained.iloc[1:] if len(trained) > 1 else trained
    seconds, responses = float(warm["seconds"].sum()), float(warm["responses"].sum())
    tokens = float((warm["tokens"] * warm["responses"]).sum())
    return {
        "name": name,
        "updates": len(trained),
        "responses": int(trained["responses"].sum()),
        "seconds": float(warm["seconds"].median()),
        "samples_per_second": responses / seconds,
        "tokens_per_second": tokens / seconds,
        "tokens": tokens / responses,
        "shares": {
            name: float(warm[f"{name}_seconds"].sum()) / seconds for name in ("sampling", "scoring", "training")
        },
    }


def describe_machine(machine: Mapping[str, Any], hardware: Sequence[str]) -> str:
    """Return in words where an experiment ran: what generation.json calls the hardware, and how much of it."""
    if machine["device"] == "cpu":
        return f"a CPU (threads of each process: {machine['threads']})"
    gpus, nodes = machine["gpus_per_node"], machine.get("nodes", 1)  # results of before nodes have one
    training = (
        f"{gpus} on each of {nodes} nodes for RLVR, {gpus} for other training" if nodes > 1 else f"{gpus} for training"
    )
    return f"{' and '.join(hardware)}, {training} and 1 for answers"
