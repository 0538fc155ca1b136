"""Fingerprints of the metrics of one model, of the comparisons, and of the rules for the paper's claims."""

import inspect

from medrlvr.evaluation import baselines, claims, early_answers, score, statistics, strata, waterfall
from medrlvr.evaluation.comparison import controls, decomposition, pairs, predictions, tables
from medrlvr.evaluation.sensitivity import claim, measures
from medrlvr.grading import reasoning
from medrlvr.runtime.fingerprint import fingerprint


def comparison_version() -> str:
    """Return the fingerprint of the comparisons and claims.

    It changes if the code changes, but not if a comment or docstring changes.
    """
    compared = (controls, decomposition, pairs, predictions, tables, waterfall)
    modules = (baselines, claims, reasoning, statistics, *compared, claim, early_answers, measures)
    return fingerprint(*map(inspect.getsource, modules))


def metrics_version() -> str:
    """Return the fingerprint of the code that computes metrics.json from graded answers."""
    return fingerprint(*map(inspect.getsource, (score, statistics, strata)))
