"""Run what is missing of the reference, export each finished run at once, and write its page and README's block.

python -m medrlvr.reference.main [--runs N]
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from medrlvr.reference.export import LARGEST_FOLDER, export_questions, export_run, shipped_bytes
from medrlvr.reference.fingerprints import GRADING, code_versions, comparable, fingerprints
from medrlvr.reference.page import write_page
from medrlvr.reference.readme import write_readme
from medrlvr.reference.runs import PARTS, REFERENCE, Part, Run, all_runs
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json, write_json

AnyRun = TypeVar("AnyRun", bound=Run)


def missing_runs() -> list[Run]:
    """Return the runs that are not shipped, or that other code or other settings made, in the order to run them."""
    return [run for run in all_runs() if not is_current(run)]


def is_current(run: Run) -> bool:
    """Return whether a run is shipped and its fingerprints are those of this code.

    Another grader or evidence check does not matter, because stored answers are graded again. A base that the workflow
    has not made yet is not compared.
    """
    record = run.record()
    if record is None:
        return False
    made = run.part.results / "models/base"
    embedded = run.part.experiment.base.source == "embedded"
    base = made if made.is_dir() or not embedded else Path(run.part.experiment.base.name)
    shipped = comparable(record["fingerprints"], run.part.experiment)
    present = fingerprints(run.part.experiment, base, run.settings)
    ignored = {*GRADING} | (set() if made.is_dir() or embedded else {"base"})
    return all(shipped.get(name) == value for name, value in present.items() if name not in ignored)


def run_missing(most: int | None) -> None:
    """Run and export missing runs, at most `most`.

    Raises:
        UserError: a run failed, or the results of another version exist.
    """
    run_each(missing_runs()[:most], REFERENCE, _start_workflow, _export)


def run_each(
    runs: Sequence[AnyRun], shipped: Path, start: Callable[[AnyRun], int], export: Callable[[AnyRun], Path]
) -> None:
    """Make the files of each run and export it at once, so that a failure or an interruption keeps the earlier runs.

    Args:
        runs: the runs, in the order in which they run.
        shipped: folder with the exported runs. Its name is the name in messages.
        start: makes the files of a run and returns the exit status.
        export: exports a finished run and returns its path.

    Raises:
        UserError: a run failed, or the results of another version exist.
    """
    name, began = shipped.name, time.monotonic()
    for number, run in enumerate(runs, 1):
        print(f"{name}: {run.part.name}, {run.model}, run {number} of {len(runs)}", flush=True)
        claim_results(run.part)
        if start(run):
            raise UserError(f"{name}: {run.part.name}, {run.model} failed. The finished runs are in {shipped}.")
        exported = export(run)
        left = (time.monotonic() - began) / number * (len(runs) - number)
        print(f"{name}: exported {exported}; about {left / 60:.0f} minutes left", flush=True)


def _export(run: Run) -> Path:
    export_questions(run.part)
    export_run(run)
    return run.folder


def claim_results(part: Part) -> None:
    """Record the present code in the results folder of an experiment.

    Snakemake does not repeat a step when the library's code changes. Results of earlier code would be exported with the
    fingerprints of the present code.

    Raises:
        UserError: other code wrote this folder.
    """
    file = part.results / "reference.json"
    present = code_versions(part.experiment)
    written = comparable(read_json(file) if file.is_file() else {}, part.experiment)
    if (part.results / "data").is_dir() and written != present:
        changed = ", ".join(name for name, value in present.items() if written.get(name) != value)
        raise UserError(
            f"{part.results}: other code wrote this folder; this has changed: {changed}. The finished runs are in"
            f" {part.shipped_root}. Delete the folder and run again:\n  rm -r {part.results}"
        )
    write_json(file, present)


def run_workflow(part: Part, targets: Iterable[Path]) -> int:
    """Make files of an experiment and return the exit status. After Ctrl-C, wait until the jobs have ended."""
    command = [sys.executable, "-m", "medrlvr.cli.main", "run", *part.overlays, "--", *map(str, targets)]
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def _start_workflow(run: Run) -> int:
    return run_workflow(run.part, run.targets)


def run_program(program: str, about: str, work: Callable[[int | None], None], arguments: Sequence[str] | None) -> int:
    """Read `--runs`, do the work with its value, and return the exit status; an error becomes one message."""
    parser = argparse.ArgumentParser(prog=program, description=about)
    parser.add_argument("--runs", type=int, metavar="N", help="run at most N missing runs; 0: only write the results")
    try:
        work(parser.parse_args(arguments).runs)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def make_reference(most: int | None) -> None:
    """Run at most `most` missing runs, and write index.md and README's block.

    Raises:
        UserError: a run failed, or the exported runs are larger than what is shipped.
    """
    run_missing(most)
    write_page(REFERENCE)
    write_readme(Path("README.md"), PARTS[0])
    size = shipped_bytes(REFERENCE)
    if size > LARGEST_FOLDER:
        raise UserError(f"{REFERENCE} has {size:,} bytes, more than the {LARGEST_FOLDER:,} that are shipped.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return run_program("make reference", __doc__.partition("\n")[0], make_reference, arguments)


if __name__ == "__main__":
    sys.exit(main())
