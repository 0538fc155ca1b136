"""Summary of one RLVR run for the report: stages, indicator levels, examples, speed."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

LEVEL = 5
"""Updates over which the level of an indicator is averaged."""


def describe_run(name: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's name, stages, indicator levels, and examples from its first, middle and last update."""
    rollouts = files["rollouts"]
    updates = sorted(rollouts["update"].unique())
    shown = list(dict.fromkeys([updates[0], updates[len(updates) // 2], updates[-1]]))
    levels = describe_levels(files["dynamics"], list(files["stages"]["indicators"]))
    return {"name": name, "stages": files["stages"], "levels": levels, "examples": pick_examples(rollouts, shown)}


def describe_levels(dynamics: pd.DataFrame, indicators: Sequence[str]) -> list[dict[str, Any]]:
    """Return the first, highest and last mean over `LEVEL` updates of each reward-hacking indicator.

    Args:
        dynamics: as `dynamics.updates.tabulate` returns it.
        indicators: names of the indicators.

    Returns:
        name; first, most, last (means over responses of valid format; 0 if there are none); at: the last of the updates
        with the highest mean.
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
    """Return the first sampled response of each of `updates`: by position, so that the examples are not hand-picked."""
    rows = [rollouts[rollouts["update"] == update].head(1) for update in updates]
    return pd.concat(rows).to_dict("records")


def shown_examples(run: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    """Return update, question and sample of every response that a run's description shows."""
    stages = [stage["example"] for stage in run["stages"]["stages"] if stage["example"]]
    rows = [*stages, *run["stages"]["self_verification"]["examples"], *run["examples"]]
    return [(row["update"], row["question_id"], row["sample"]) for row in rows]


def describe_speed(name: str, dynamics: pd.DataFrame) -> dict[str, Any]:
    """Return a run's updates, responses and speed. The first update is left out: it includes start-up.

    Args:
        name: name of the run.
        dynamics: as `dynamics.updates.tabulate` returns it.
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
    """Describe the hardware of an experiment: its kind, from generation.json, and its amount."""
    if machine["device"] == "cpu":
        return f"a CPU (threads of each process: {machine['threads']})"
    gpus, nodes = machine["gpus_per_node"], machine.get("nodes", 1)  # older results do not contain `nodes`
    several = f"{gpus} on each of {nodes} nodes for RLVR, " if nodes > 1 else ""
    return f"{' and '.join(hardware)}, {several}{gpus} for {'other ' if nodes > 1 else ''}training and answers"
