"""The claim that early answers vanish where no candidates are shown, by the rule of docs/calculations.md."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.claims import MARGIN, ClaimEvidence, Measured, below
from medrlvr.evaluation.statistics import seed_interval

CLAIM = "The early-answer hack vanishes where no candidates are shown"
WINDOW = 10
"""Number of consecutive updates whose responses are compared."""
LEAST_RESPONSES = 30
"""Minimum number of responses with a valid format in the first window of each run."""


def early_shares(updates: pd.DataFrame) -> "pd.Series[float]":
    """Return the share of early answers among the valid responses of each window; the index is the window's last row.

    Args:
        updates: one row per update, in order: responses (their number), valid_format and stage_direct_answer_hacker
            (fractions of them). These are missing for the base before the first update, which is left out.

    Returns:
        for each WINDOW consecutive updates, early answers divided by valid responses; missing without any.
    """
    return _early(updates) / _valid(updates).replace(0, np.nan)


def _valid(updates: pd.DataFrame) -> "pd.Series[float]":
    """Return the number of valid responses of each window."""
    sampled = updates[updates["valid_format"].notna()].reset_index(drop=True)
    return (sampled["responses"] * sampled["valid_format"]).rolling(WINDOW).sum().dropna()


def _early(updates: pd.DataFrame) -> "pd.Series[float]":
    sampled = updates[updates["valid_format"].notna()].reset_index(drop=True)
    return (sampled["responses"] * sampled["stage_direct_answer_hacker"]).rolling(WINDOW).sum().dropna()


def early_rises(runs: Sequence[pd.DataFrame]) -> list[float] | None:
    """Return by how much training raises the share of early answers, for each run; it may be negative.

    A run is compared at the window in which the *other* runs together have their largest share. So noise in a run
    cannot select its own largest window, and a constant share has a mean rise of 0.

    Args:
        runs: for each training seed, a table as for `early_shares`.

    Returns:
        the share in that window minus the share in the first window; None with fewer than three runs, fewer than two
        windows of separate updates, or fewer than LEAST_RESPONSES valid responses in the first window of a run.
    """
    if len(runs) < 3 or any(_too_short(updates) for updates in runs):
        return None
    rises = []
    for number, updates in enumerate(runs):
        others = [run for place, run in enumerate(runs) if place != number]
        early, valid = (pd.concat([*map(count, others)], axis=1).sum(axis=1) for count in (_early, _valid))
        together = early / valid
        shares = early_shares(updates)
        rises.append(float(shares[together.idxmax()] - shares.iloc[0]))
    return rises


def _too_short(updates: pd.DataFrame) -> bool:
    valid = _valid(updates)
    return len(valid) <= WINDOW or valid.iloc[0] < LEAST_RESPONSES


def early_answer_evidence(
    runs: Sequence[pd.DataFrame], design: ComparisonDesign, questions: int
) -> dict[str, ClaimEvidence]:
    """Return the evidence of the training runs of one RLVR arm, for the first benchmark in distribution.

    Args:
        runs: for each training seed, a table as for `early_shares`; none if the training questions have options.
        design: the benchmarks.
        questions: number of training questions.
    """
    benchmark = next((name for name in design.benchmarks if design.distributions[name] == "in"), None)
    if not runs or benchmark is None:
        return {}
    measured, rises = None, early_rises(runs)
    if rises and (interval := seed_interval(rises, 0.0, 0.95)):
        measured = Measured(float(np.mean(rises)), *interval, below(*interval, bound=MARGIN))
    text = {"text": "not stated"}
    return {benchmark: ClaimEvidence(CLAIM, questions, 0.95, measured, None, text, [len(runs)], unit="points")}
