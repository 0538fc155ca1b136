"""The comparison of lock files with advisories: what counts as a finding, and what counts as no audit."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import audit
import pytest

RECORDS = [
    {"name": "ray", "version": "2.55.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.56"]}]},
    {"name": "torch", "version": "2.13", "vulns": [{"id": "GHSA-2", "fix_versions": []}]},
    {"name": "six", "version": "1", "vulns": []},
    {"name": "ours", "skip_reason": "not found"},
]


def test_every_advisory_needs_a_decision() -> None:
    assert audit.undecided(RECORDS, {}) == ["PYSEC-1: ray 2.55.0; fixed in 2.56", "GHSA-2: torch 2.13; fixed in none"]
    decided = {("PYSEC-1", "ray"): "the dashboard is off", ("GHSA-2", "torch"): " ", ("GHSA-2", "ray"): "x"}
    assert audit.undecided(RECORDS, decided) == ["GHSA-2: torch 2.13; fixed in none"]


@pytest.mark.parametrize(
    ("printed", "reached"),
    [
        (json.dumps({"dependencies": RECORDS}), True),
        (json.dumps({"dependencies": [{"name": "six", "skip_reason": "not found"}]}), False),
        ("", False),
        ("[1]", False),
    ],
)
def test_an_audit_that_reached_no_source_is_none(
    printed: str, reached: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pip-audit prints "No known vulnerabilities found" if it knows no package at all."""
    done = SimpleNamespace(stdout=printed, stderr="ConnectionError: x")
    monkeypatch.setattr(audit, "subprocess", SimpleNamespace(run=lambda *_, **__: done))
    assert audit.audited(Path("cpu.lock")) == (RECORDS if reached else None)
    monkeypatch.setattr(audit, "LOCKS", ("cpu.lock",))
    assert audit.main() == (1 if reached else 2)
    assert ("nothing was audited" in capsys.readouterr().out) is not reached


def test_every_row_of_the_table_has_a_decision() -> None:
    header, *rows = [line.split("\t") for line in audit.DECISIONS.read_text(encoding="utf-8").splitlines()]
    assert header == ["advisory", "package", "decision"]
    assert [row for row in rows if len(row) != 3 or not all(map(str.strip, row))] == []


def test_git_ignores_the_auditors_environment() -> None:
    assert subprocess.run(["git", "check-ignore", ".audit"], capture_output=True).returncode == 0
