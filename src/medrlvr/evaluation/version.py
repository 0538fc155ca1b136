"""Fingerprints of the metrics of one model, of the comparisons, and of the rules for the paper's claims."""

import inspect

from medrlvr.evaluation import (
    baselines,
    claims,
    early_answers,
    formats,
    repeated,
    score,
    statistics,
    strata,
    waterfall,
)
from medrlvr.evaluation.comparison import controls, decomposition, pairs, predictions, tables
from medrlvr.evaluation.sensitivity import claim, measures
from medrlvr.grading import open_answers, reasoning, self_verification
from medrlvr.runtime.fingerprint import fingerprint


def comparison_version() -> str:
    """Return the fingerprint of the comparisons, the controls and the claims.

    It changes if the code changes, but not if a comment or docstring changes.
    """
    compared = (controls, decomposition, pairs, predictions, tables, waterfall)
    controlled = (claim, early_answers, formats, measures, open_answers, repeated)
    modules = (baselines, claims, reasoning, self_verification, statistics, *compared, *controlled)
    return fingerprint(*map(inspect.getsource, modules))


def metrics_version() -> str:
    """Return the fingerprint of the code that computes metrics.json from graded answers."""
    return fingerprint(*map(inspect.getsource, (score, statistics, strata)))
