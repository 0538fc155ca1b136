"""Snakemake as a user starts it, and what its dry runs say."""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
from forked import python

MINIATURE = ["--configfile", "config/miniature.yaml"]
SHORT = [*MINIATURE, "tests/short.yaml"]
"""Real training on the real stack, too short to learn anything."""


def snakemake(
    *arguments: str, cwd: Path = Path(), cores: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MEDRLVR_", "PYTHONPATH"))}
    return python(
        "-m", "snakemake", *(["--cores", "2"] if cores else []), *arguments, cwd=cwd, env=environment | variables
    )


def copy_of_the_commit(target: Path) -> Path:
    """Copy the files that git would hand out, so that nothing untracked or made by another test's files can help."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target / name)
    return target


def processes_in(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def jobs(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Rule -> number of jobs, from a dry run's table."""
    assert result.returncode == 0, result.stdout + result.stderr
    if "Job stats:" not in result.stdout:
        return {}
    table = result.stdout.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    return {line.split()[0]: int(line.split()[1]) for line in table if line.strip()}


def first_causes(result: subprocess.CompletedProcess[str]) -> dict[str, set[str]]:
    """Reason -> rules, from a dry run's end, without those that only follow from others."""
    assert result.returncode == 0, result.stdout + result.stderr
    if "\nReasons:\n" not in result.stdout:
        return {}
    causes = {}
    for reason, rules in re.findall(
        r"^    (\S.*):\n        (.*)$", result.stdout.split("\nReasons:\n")[1], re.MULTILINE
    ):
        if reason != "input files updated by another job":
            causes[reason] = set(rules.split(", "))
    return causes
