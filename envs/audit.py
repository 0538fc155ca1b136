"""Compare the lock files with known advisories: `make audit`. Every finding needs a decision in envs/advisories.tsv.

Exit status: 0 if every finding has a decision, 1 if one has none, 2 if nothing could be audited.
"""

import csv
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
LOCKS = ("cpu.lock", "gpu.lock", "peer.lock")
DECISIONS = HERE / "advisories.tsv"


def audited(lock: Path) -> list[Mapping[str, Any]] | None:
    """Return pip-audit's record of every package in a lock file, or None if no source of advisories is reachable."""
    command = [sys.executable, "-m", "pip_audit", "--vulnerability-service=osv", "--format=json", "--disable-pip"]
    done = subprocess.run([*command, "--no-deps", f"--requirement={lock}"], capture_output=True, text=True)
    try:
        records: list[Mapping[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
        print(f"{lock.name}: {last[:200]}", file=sys.stderr)
        return None
    # A package that the source does not know is skipped. If it knows none, it was not reached.
    return records if any("vulns" in record for record in records) else None


def undecided(records: Iterable[Mapping[str, Any]], decisions: Mapping[tuple[str, str], str]) -> list[str]:
    """Return a line for each advisory without a decision.

    Args:
        records: pip-audit's records.
        decisions: (advisory, package) -> decision.
    """
    return [
        f"{found['id']}: {record['name']} {record['version']}; fixed in {', '.join(found['fix_versions']) or 'none'}"
        for record in records
        for found in record.get("vulns", ())
        if not decisions.get((found["id"], record["name"]), "").strip()
    ]


def main() -> int:
    """Audit every lock file, print findings without a decision, and return the exit status."""
    with DECISIONS.open(encoding="utf-8", newline="") as file:
        decisions = {(row["advisory"], row["package"]): row["decision"] for row in csv.DictReader(file, delimiter="\t")}
    status = 0
    for lock in LOCKS:
        records = audited(HERE / lock)
        if records is None:
            print(f"{lock}: nothing was audited, because no source of advisories is reachable.")
            return 2
        open_findings = undecided(records, decisions)
        print(f"{lock}: {len(records)} packages, {len(open_findings)} advisories without a decision")
        print("".join(f"  {line}\n" for line in open_findings), end="")
        status |= bool(open_findings)
    if status:
        print(f"Add a row with your decision to {DECISIONS}: update the package, or why the advisory does not apply.")
    return status


if __name__ == "__main__":
    sys.exit(main())
