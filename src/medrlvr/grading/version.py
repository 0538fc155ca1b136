"""Fingerprints of the grader and of rewards. They change with the code, but not with comments or docstrings."""

import inspect
import json
from collections.abc import Iterable, Mapping
from types import ModuleType

from medrlvr.grading import grader, kinds, letters, numbers, patterns, search, texts, units
from medrlvr.grading.kinds import Kind
from medrlvr.grading.reward_config import Setting, reward_source
from medrlvr.runtime.fingerprint import fingerprint

_MODULES: Mapping[Kind, tuple[ModuleType, ...]] = {
    "letter": (letters, patterns, search, grader),
    "number": (kinds, numbers, units),
    "text": (kinds, texts),
}


def grader_version(of: Iterable[Kind] = ("letter",)) -> str:
    """Return the fingerprint of the grader of these kinds of questions.

    The grader of letters also finds the answer block of numbers and texts, so it is part of every fingerprint.
    """
    modules = dict.fromkeys(module for kind in ("letter", *sorted({*of} - {"letter"})) for module in _MODULES[kind])
    return fingerprint(*map(inspect.getsource, modules))


def terms_version(setting: Setting) -> str:
    """Return the fingerprint of a reward's terms."""
    return fingerprint(reward_source(setting))


def reward_version(setting: Setting, of: Iterable[Kind] = ("letter",)) -> list[str]:
    """Return what determines a response's reward: fingerprints of grader and terms, and the setting as JSON.

    Args:
        of: kinds of the questions.
    """
    return [grader_version(of), terms_version(setting), json.dumps(setting, sort_keys=True)]
