"""Fingerprint of the definitions of stages and reward-hacking indicators."""

import inspect

from medrlvr.dynamics import hack_monitor, segmentation, stages
from medrlvr.grading import self_verification, shortcuts
from medrlvr.runtime.fingerprint import fingerprint


def definitions_version() -> str:
    """Return the fingerprint. It changes if the code changes, but not if a comment or docstring changes."""
    modules = (shortcuts, self_verification, stages, segmentation, hack_monitor)
    return fingerprint(*map(inspect.getsource, modules))
