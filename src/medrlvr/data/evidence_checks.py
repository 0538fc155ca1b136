"""Choose the check of reasoning that the setting `evaluation.evidence` names."""

from collections.abc import Callable, Sequence

from medrlvr.data.calculations import evidence as calculations
from medrlvr.data.calculations.version import evidence_version as calculations_version
from medrlvr.data.miniature import evidence as miniature
from medrlvr.data.miniature.version import evidence_version as miniature_version
from medrlvr.grading.evidence import Evidence, EvidenceCheck
from medrlvr.grading.grader import Grade
from medrlvr.grading.text_evidence import check_response, text_evidence_version


def evidence_check(setting: str | None) -> EvidenceCheck | None:
    """Return the check, or None for None.

    Args:
        setting: one of `config.evaluation.EvidenceSetting`.
    """
    checks: dict[str, EvidenceCheck] = {
        "miniature": _without_options(miniature.check_evidence),
        "calculations": _without_options(calculations.check_evidence),
        "text": check_response,
    }
    return checks[setting] if setting else None


def evidence_check_version(setting: str | None) -> str | None:
    """Return the fingerprint of the check's code and tables."""
    versions = {
        "miniature": miniature_version,
        "calculations": calculations_version,
        "text": text_evidence_version,
    }
    return versions[setting]() if setting else None


def _without_options(check: Callable[[str, str, Grade], Evidence | None]) -> EvidenceCheck:
    def checked(stem: str, _: Sequence[str], response: str, grade: Grade) -> Evidence | None:
        return check(stem, response, grade)

    return checked
