"""Fingerprint of the check of reasoning. It changes with the code and the table of facts, but not with comments."""

import hashlib
import inspect
from pathlib import Path

from medrlvr.data.miniature import evidence, world
from medrlvr.grading.evidence import Evidence
from medrlvr.runtime.fingerprint import fingerprint

FACTS = Path(world.__file__).with_name("facts.tsv")


def evidence_version() -> str:
    """Return fingerprints of the code and of the table."""
    code = fingerprint(inspect.getsource(Evidence), inspect.getsource(world), inspect.getsource(evidence))
    return f"{code} {hashlib.sha256(FACTS.read_bytes()).hexdigest()[:16]}"
