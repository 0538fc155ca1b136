"""Everything that starts or imports Snakemake outside the workflow."""

import contextlib
import io
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, NoReturn

from medrlvr.pipeline.plan.jobs import refusal
from medrlvr.runtime.environment import export_source
from medrlvr.runtime.errors import UserError


def snakemake_arguments(
    overlays: Sequence[str],
    *,
    profile: str | None = None,
    cores: str | None = None,
    until: Sequence[str] = (),
    dry_run: bool = False,
    more: Sequence[str] = (),
) -> list[str]:
    """Return Snakemake's arguments for an experiment.

    Args:
        overlays: YAML files, merged over config/config.yaml in this order.
        profile: Snakemake's profile; None for this machine.
        cores: number of cores; None for all, or for the profile's.
        until: rules after which Snakemake stops.
        dry_run: whether Snakemake only prints the jobs.
        more: arguments that follow unchanged.
    """
    # Options with several values come first: a target in `more` must not become a value of theirs.
    arguments = ["--configfile", *overlays] if overlays else []
    arguments += ["--until", *until] if until else []
    arguments += ["--dry-run"] if dry_run else []
    if profile:
        arguments += ["--profile", profile, *(["--cores", cores] if cores else [])]
    else:
        arguments += ["--quiet", "host", "reason", "rules", "progress", "--rerun-incomplete"]
        arguments += ["--cores", cores or str(len(os.sched_getaffinity(0)))]
    return [*arguments, *more]


def become_snakemake(arguments: Sequence[str]) -> NoReturn:
    """Print the Snakemake command and replace this process by it: signals and exit status are Snakemake's.

    Raises:
        UserError: Snakemake is not installed.
    """
    os.execv(sys.executable, _command(arguments))


def run_snakemake(arguments: Sequence[str]) -> None:
    """Print the Snakemake command and run it; if it fails or is interrupted, exit with its status.

    Raises:
        UserError: Snakemake is not installed.
    """
    process = subprocess.Popen(_command(arguments))
    while True:
        try:
            status = process.wait()
            break
        except KeyboardInterrupt:
            # Snakemake has the signal too, and ends its jobs first.
            continue
    if status:
        sys.exit(status if status > 0 else 128 - status)


def _command(arguments: Sequence[str]) -> list[str]:
    if find_spec("snakemake") is None:
        raise UserError(f"{sys.executable} has no Snakemake. Run `make setup` and use .venv/bin/medrlvr.")
    command = [sys.executable, "-m", "snakemake", *arguments]
    print(shlex.join(command), file=sys.stderr, flush=True)
    _forget_personal_profile()
    export_source()
    return command


def _forget_personal_profile() -> None:
    # SNAKEMAKE_PROFILE may send every job to a cluster. A profile for these commands is given with --profile.
    os.environ.pop("SNAKEMAKE_PROFILE", None)


def dry_run(*arguments: str) -> list[Any]:
    """Return a record of each job that Snakemake would run: the events that it sends to its log plug-ins.

    Raises:
        UserError: Snakemake rejects the command or the workflow; with Snakemake's message.
    """
    from snakemake.cli import main as snakemake
    from snakemake.logging import logger
    from snakemake_interface_logger_plugins.common import LogEvent

    _forget_personal_profile()
    records, printed = [], io.StringIO()

    def collect(record: Any) -> bool:
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
