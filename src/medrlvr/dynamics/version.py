"""Fingerprints of the definitions of stages and reward-hacking indicators, and of the tables of the dynamics."""

import inspect

from medrlvr.dynamics import grades, hack_monitor, responses, segmentation, stages, summary, updates
from medrlvr.grading import self_verification, shortcuts
from medrlvr.runtime.fingerprint import fingerprint


def definitions_version() -> str:
    """Return the fingerprint. It changes if the code changes, but not if a comment or docstring changes."""
    modules = (shortcuts, self_verification, stages, segmentation, hack_monitor)
    return fingerprint(*map(inspect.getsource, modules))


def tables_version() -> str:
    """Return the fingerprint of the code that writes one row per update and grades checkpoints, without definitions."""
    return fingerprint(*map(inspect.getsource, (grades, responses, summary, updates)))
