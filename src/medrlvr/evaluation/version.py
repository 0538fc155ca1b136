"""Fingerprint of the comparisons and of the rules for the paper's claims."""

import inspect

from medrlvr.evaluation import baselines, claims, statistics, waterfall
from medrlvr.evaluation.comparison import controls, decomposition, pairs, predictions, tables
from medrlvr.evaluation.sensitivity import claim, measures
from medrlvr.runtime.fingerprint import fingerprint


def comparison_version() -> str:
    """Return the fingerprint. It changes if the code changes, but not if a comment or docstring changes."""
    compared = (controls, decomposition, pairs, predictions, tables, waterfall)
    modules = (baselines, claims, statistics, *compared, claim, measures)
    return fingerprint(*map(inspect.getsource, modules))
