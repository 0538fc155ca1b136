"""Compare the tests of an earlier commit with today's: python tests/ids.py

tests/ids_7fd266a.tsv lists every test of commit 7fd266a, before the tests were divided into `make test` and
`make test-all`. Each row has the old id, then the id of the test that proves the same today, or "=" if that is the same
id, or else the reason why no test does. Ids of more than 100 characters end in a hash of the whole id.
"""

import csv
import hashlib
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests" / "ids_7fd266a.tsv"
LONGEST = 100


def shortened(test: str) -> str:
    """Return the id as the table has it."""
    digest = hashlib.sha256(test.encode()).hexdigest()[:8]
    return test if len(test) <= LONGEST else f"{test[: LONGEST - 9]}~{digest}"


def collected() -> set[str]:
    """Return the ids of all tests as pytest collects them now, shortened."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]
    listed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    return {shortened(line) for line in listed.splitlines() if "::" in line}


def lost(rows: Iterable[list[str]], tests: Collection[str]) -> Iterator[str]:
    """Yield a sentence about every row whose proof is gone.

    Args:
        rows: old id, new id or "=", reason.
        tests: ids of today's tests, shortened.
    """
    for number, (then, now, reason) in enumerate(rows, 1):
        wanted = then if now == "=" else now
        if not wanted and not reason:
            yield f"line {number}: {then} has neither a test nor a reason."
        if wanted and wanted not in tests:
            yield f"line {number}: {wanted} is not collected. Name the test that proves the same, or a reason."


def read_table() -> list[list[str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


if __name__ == "__main__":
    table = read_table()
    if faults := [*lost(table, collected())]:
        sys.exit("\n".join([f"{TABLE.relative_to(ROOT)}:", *faults]))
    moved = sum(row[1] not in ("", "=") for row in table)
    print(f"{len(table)} tests of 7fd266a: {moved} have another id, {sum(not row[1] for row in table)} are gone")
