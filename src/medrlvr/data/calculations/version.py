"""Fingerprint of the check of reasoning. It changes with the code of formulas and check, but not with comments."""

import inspect

from medrlvr.data.calculations import evidence, formulas
from medrlvr.grading.evidence import Evidence
from medrlvr.runtime.fingerprint import fingerprint


def evidence_version() -> str:
    """Return the fingerprint of the code."""
    return fingerprint(inspect.getsource(Evidence), inspect.getsource(formulas), inspect.getsource(evidence))
