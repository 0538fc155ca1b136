"""Run what is missing of the bench for hack detectors, export each finished run at once, and write its results.

python -m medrlvr.hack_bench.main [--runs N]
"""

import sys
from collections.abc import Sequence

from medrlvr.hack_bench.export import export_run
from medrlvr.hack_bench.page import write_results
from medrlvr.hack_bench.runs import BENCH, BenchRun, bench_runs
from medrlvr.reference.main import is_current, run_each, run_program, run_workflow


def missing_runs() -> list[BenchRun]:
    """Return the runs that are not exported, or that other code or other settings made, in the order to run them."""
    return [run for run in bench_runs() if not is_current(run)]


def start(run: BenchRun) -> int:
    """Make the files of a run and return the exit status."""
    return run_workflow(run.part, [*run.targets, run.sensitivity])


def make_bench(most: int | None) -> None:
    """Run at most `most` missing runs, and write the results.

    Raises:
        UserError: a run failed.
    """
    run_each(missing_runs()[:most], BENCH, start, export_run)
    write_results(BENCH, bench_runs())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return run_program("make hack-bench", __doc__.partition("\n")[0], make_bench, arguments)


if __name__ == "__main__":
    sys.exit(main())
