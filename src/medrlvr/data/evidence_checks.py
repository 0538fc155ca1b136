"""Choose the check of reasoning that the setting `evaluation.evidence` names."""

from collections.abc import Sequence

from medrlvr.data.miniature.evidence import check_evidence
from medrlvr.data.miniature.version import evidence_version
from medrlvr.grading.evidence import Evidence, EvidenceCheck
from medrlvr.grading.grader import Grade
from medrlvr.grading.text_evidence import check_response, text_evidence_version


def evidence_check(setting: str | None) -> EvidenceCheck | None:
    """Return the check, or None for None.

    Args:
        setting: one of `config.evaluation.EvidenceSetting`.
    """
    checks: dict[str, EvidenceCheck] = {"miniature": _in_miniature, "text": check_response}
    return checks[setting] if setting else None


def evidence_check_version(setting: str | None) -> str | None:
    """Return the fingerprint of the check's code and tables."""
    versions = {"miniature": evidence_version, "text": text_evidence_version}
    return versions[setting]() if setting else None


def _in_miniature(stem: str, _: Sequence[str], response: str, grade: Grade) -> Evidence | None:
    return check_evidence(stem, response, grade)
