"""Show what a run would do: python workflow/scripts/plan.py [--profile slurm] [config/overlay.yaml ...]

Snakemake is asked twice, dry: what it would run, and what the whole graph has. Its answers are the events that it sends
to its log plug-ins, one for each job.
"""

import argparse
import contextlib
import io
import sys

from snakemake.cli import main as snakemake
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from medrlvr.config.load import read_overlays
from medrlvr.pipeline.plan.jobs import jobs_of, refusal
from medrlvr.pipeline.plan.text import plan
from medrlvr.runtime.errors import UserError


def dry_run(*arguments: str) -> list:
    """The records of the jobs that Snakemake would run; its own message when it refuses."""
    records, printed = [], io.StringIO()

    def collect(record):
        of_a_job = getattr(record, "event", None) == LogEvent.JOB_INFO
        if of_a_job:
            records.append(record)
        return not of_a_job

    logger.addFilter(collect)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            snakemake(["--dry-run", "--rerun-incomplete", "--quiet", "host", *arguments])
    except SystemExit as end:
        if end.code:
            raise UserError(refusal(printed.getvalue())) from None
    finally:
        logger.removeFilter(collect)
    return records


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show what a run would do; nothing is started.")
    parser.add_argument("--profile")
    parser.add_argument("overlays", nargs="*")
    given = parser.parse_args()
    arguments = ["--profile", given.profile] if given.profile else []
    arguments += ["--configfile", *given.overlays] if given.overlays else []
    try:
        experiment = read_overlays(given.overlays)
        jobs = jobs_of(dry_run(*arguments), dry_run("--forceall", *arguments))
        print(plan(experiment, jobs, given.overlays, given.profile), end="")
    except UserError as error:
        sys.exit(str(error))
