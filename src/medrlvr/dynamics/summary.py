"""Summary of a run: its stages with an example of each, reward-hacking alarms, and self-verification."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.dynamics.hack_monitor import INDICATORS, find_alarms
from medrlvr.dynamics.segmentation import Band, segment
from medrlvr.dynamics.stages import HACKED, LABELS, REINTEGRATED, SOUND, STAGES
from medrlvr.grading.self_verification import find_self_verification

EXAMPLES = 12
"""Number of responses with a phrase of self-verification that are shown; they are spread evenly over the run."""


def summarise_run(table: pd.DataFrame, rollouts: pd.DataFrame, responses: pd.DataFrame) -> dict[str, Any]:
    """Return the run's summary, ready for JSON; docs/metrics.md has the fields.

    Args:
        table: as `tabulate` returns it.
        rollouts: as `training.rollouts.collect_rollouts` returns them.
        responses: as `label_responses` returns them, in the same order.
    """
    trained = table[table["responses"].notna()].reset_index(drop=True)
    shares = trained[["update", "responses"]].assign(**{name: trained[f"stage_{name}"] for name in LABELS})
    bands = segment(shares)
    told = rollouts[["update", "question_id", "sample", "response", "reward"]].assign(
        label=responses["label"].to_numpy()
    )
    checking = told[responses["self_verifications"].gt(0).to_numpy()]
    spread = np.linspace(0, len(checking) - 1, min(len(checking), EXAMPLES)).round().astype(int)
    return {
        "updates": len(trained),
        "responses": len(rollouts),
        "bands": [asdict(band) for band in bands],
        "stages": [_describe_stage(stage, bands, shares, told) for stage in STAGES],
        "indicators": {name: text for name, text in INDICATORS.items() if name in table},
        "alarms": _first_alarms(trained),
        "self_verification": {
            "responses": len(checking),
            "examples": [
                _example(row) | {"places": find_self_verification(str(row["response"]))}
                for row in checking.iloc[spread].to_dict("records")
            ],
        },
    }


def _describe_stage(stage: str, bands: Sequence[Band], shares: pd.DataFrame, told: pd.DataFrame) -> dict[str, Any]:
    """Return a stage's updates, the highest share of its labels in any update, and an example: the middle response."""
    own = [band for band in bands if band.stage == stage]
    labels = [*SOUND] if stage == REINTEGRATED else [stage]
    share = shares[labels].sum(axis=1)
    if stage == REINTEGRATED:
        # Sound responses before the first band of shortcuts are not reintegrated.
        hacked = min((band.last for band in bands if band.stage in HACKED), default=math.inf)
        share = share.where(shares["update"] > hacked, 0.0)
    inside = pd.Series(False, index=told.index)
    for band in own:
        inside |= told["update"].between(band.first, band.last)
    shown = told[inside & told["label"].isin(labels)]
    return {
        "stage": stage,
        "occurs": bool(own),
        "updates": [[band.first, band.last] for band in own],
        "highest_share": float(share.max()),
        "highest_at": int(shares["update"][share.idxmax()]) if share.max() > 0 else None,
        "example": _example(shown.iloc[len(shown) // 2].to_dict()) if len(shown) else None,
    }


def _example(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "update": int(row["update"]),
        "question_id": row["question_id"],
        "sample": int(row["sample"]),
        "reward": float(row["reward"]),
        "response": row["response"],
    }


def _first_alarms(trained: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each uninterrupted alarm once, as first raised, with the last update at which it was raised."""
    episodes: list[dict[str, Any]] = []
    sounding: dict[str, dict[str, Any]] = {}
    for alarm in find_alarms(trained):
        known = sounding.get(alarm.indicator)
        if known and known["until"] == alarm.update - 1:
            known["until"] = alarm.update
        else:
            sounding[alarm.indicator] = asdict(alarm) | {"until": alarm.update, "text": str(alarm)}
            episodes.append(sounding[alarm.indicator])
    return episodes
