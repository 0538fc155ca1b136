"""Fingerprints of the grader and of rewards. They change with the code, but not with comments or docstrings."""

import inspect
import json

from medrlvr.grading import grader, letters, patterns, search
from medrlvr.grading.reward_config import Setting, reward_source
from medrlvr.runtime.fingerprint import fingerprint


def grader_version() -> str:
    """Return the fingerprint of the grader."""
    return fingerprint(*map(inspect.getsource, (letters, patterns, search, grader)))


def terms_version(setting: Setting) -> str:
    """Return the fingerprint of a reward's terms."""
    return fingerprint(reward_source(setting))


def reward_version(setting: Setting) -> list[str]:
    """Return what determines a response's reward: fingerprints of grader and terms, and the setting as JSON."""
    return [grader_version(), terms_version(setting), json.dumps(setting, sort_keys=True)]
