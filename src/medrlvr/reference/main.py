"""Run what is missing of the reference, export each finished run at once, and write its page.

python -m medrlvr.reference.main [--runs N]
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from medrlvr.reference.export import LARGEST_FOLDER, export_questions, export_run, shipped_bytes
from medrlvr.reference.fingerprints import fingerprints
from medrlvr.reference.page import write_page
from medrlvr.reference.runs import REFERENCE, Run, all_runs
from medrlvr.runtime.errors import UserError


def missing_runs() -> list[Run]:
    """Return the runs that are not shipped, or that other code or other settings made, in the order to run them."""
    return [run for run in all_runs() if not is_current(run)]


def is_current(run: Run) -> bool:
    """Return whether a run is shipped and its fingerprints are those of this code; another grader does not matter.

    A base that the workflow has not made yet is not compared.
    """
    record = run.record()
    if record is None:
        return False
    made = run.part.results / "models/base"
    embedded = run.part.experiment.base.source == "embedded"
    base = made if made.is_dir() or not embedded else Path(run.part.experiment.base.name)
    shipped, present = dict(record["fingerprints"]), fingerprints(run.part.experiment, base, run.settings)
    ignored = {"grader"} | (set() if made.is_dir() or embedded else {"base"})
    return all(shipped.get(name) == value for name, value in present.items() if name not in ignored)


def run_missing(most: int | None) -> None:
    """Run and export missing runs, at most `most`."""
    runs = missing_runs()[:most]
    began = time.monotonic()
    for number, run in enumerate(runs, 1):
        print(f"reference: {run.part.name}, {run.model}, run {number} of {len(runs)}", flush=True)
        command = [sys.executable, "-m", "medrlvr.cli.main", "run", *run.part.overlays, "--", *map(str, run.targets)]
        if subprocess.run(command, check=False).returncode:
            raise UserError(f"reference: {run.part.name}, {run.model} failed. The finished runs are in {REFERENCE}.")
        export_questions(run.part)
        export_run(run)
        left = (time.monotonic() - began) / number * (len(runs) - number)
        print(f"reference: exported {run.folder}; about {left / 60:.0f} minutes left", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = argparse.ArgumentParser(prog="make reference", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, metavar="N", help="run at most N missing runs; 0: only write index.md")
    options = parser.parse_args(arguments)
    try:
        run_missing(options.runs)
        write_page(REFERENCE)
        size = shipped_bytes(REFERENCE)
        if size > LARGEST_FOLDER:
            raise UserError(f"{REFERENCE} has {size:,} bytes, more than the {LARGEST_FOLDER:,} that are shipped.")
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
