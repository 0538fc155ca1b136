"""Show what a run would do: python workflow/scripts/plan.py [--profile slurm] [config/overlay.yaml ...]

Snakemake is asked twice, dry: what it would run, and what the whole graph has. Its answers are the events that it sends
to its log plug-ins, one for each job.
"""

import argparse
import contextlib
import io
import os
import re
import sys
from pathlib import Path

from snakemake.cli import main as snakemake_main
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from medrlvr.config import read
from medrlvr.data.registry import load_registry
from medrlvr.environment import check_device
from medrlvr.errors import UserError
from medrlvr.plan import Job, absent_files, gather_facts, render


def dry_run(*arguments: str) -> list:
    """The records of the jobs that Snakemake would run; its own message when it refuses."""
    records = []

    def collect(record):
        if getattr(record, "event", None) != LogEvent.JOB_INFO:
            return True
        records.append(record)
        return False

    printed = io.StringIO()
    logger.addFilter(collect)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            snakemake_main(["--dry-run", "--rerun-incomplete", "--quiet", "host", *arguments])
    except SystemExit as end:
        if end.code:
            said = printed.getvalue()
            fault = re.search(r"^\S*(Error|Exception)\b", said, re.MULTILINE)
            raise UserError(said[fault.start() if fault else 0 :].strip()) from None
    finally:
        logger.removeFilter(collect)
    return records


def minutes(resources) -> float | None:
    limit = resources.get("runtime")
    return 60 * limit if isinstance(limit, int) else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Show what a run would do; nothing is started.")
    parser.add_argument("--profile")
    parser.add_argument("overlays", nargs="*")
    given = parser.parse_args()
    experiment = read(given.overlays)
    arguments = ["--profile", given.profile] if given.profile else []
    arguments += ["--configfile", *given.overlays] if given.overlays else []
    reasons = {(one.rule_name, *one.output): one.reason for one in dry_run(*arguments)}
    jobs = [
        Job(
            rule=one.rule_name,
            wildcards=one.wildcards,
            inputs=tuple(one.input),
            outputs=tuple(one.output),
            benchmark=one.benchmark,
            reason=reasons.get((one.rule_name, *one.output)),
            limit=minutes(one.resources),
        )
        for one in dry_run("--forceall", *arguments)
        if one.output
    ]
    results, sources = Path("results") / experiment.experiment, load_registry("config/datasets.tsv")
    mirror = os.environ.get("MEDRLVR_MIRROR")
    problem = None
    if experiment.machine.device == "gpu" and any(job.reason for job in jobs):
        try:
            check_device(experiment.machine)
        except UserError as error:
            problem = str(error)
    print(
        render(
            jobs,
            experiment,
            gather_facts(experiment, sources, results, jobs),
            results,
            files=given.overlays,
            profile=given.profile,
            absent=absent_files(jobs, sources, mirror or experiment.data.mirror),
            device_problem=problem,
            mirror=mirror,
        ),
        end="",
    )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
