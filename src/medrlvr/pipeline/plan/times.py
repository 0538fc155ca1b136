"""Time of each job: measured if a comparable job has run before, otherwise estimated."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import pandas as pd
import yaml

from medrlvr.config.arms import training_settings
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config
from medrlvr.pipeline.plan.facts import Facts
from medrlvr.pipeline.plan.jobs import Job, gpus_of
from medrlvr.pipeline.plan.work import job_work
from medrlvr.runtime.errors import UserError

UNCERTAINTY_FACTOR = 2
"""How many times faster or slower than counted a machine may be, ASSUMED."""


SHORT_RESPONSE_TOKENS = 270
"""Of a response at the lower end of a range, ASSUMED. The paper's Figure 2 shows 1,082 characters on average."""


_DECIDING = ("base", "data", "benchmarks", "modes", "machine", "miniature")
"""Settings in which experiments agree whose times can be compared; of arms their own are looked at."""


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds from `low` to `high`, and on what basis: measured or arithmetic."""

    low: float
    high: float
    basis: str


def arithmetic(job: Job, experiment: Experiment, facts: Facts) -> Time | None:
    """Return the time of a job on GPUs, counted; None on a CPU, or where sizes are not known."""
    nodes, gpus = gpus_of(job.rule, experiment.machine)
    short, long = (job_work(job, experiment, facts, tokens) for tokens in (SHORT_RESPONSE_TOKENS, math.inf))
    if not gpus or short is None or long is None:
        return None
    return Time(
        short.seconds(nodes * gpus) / UNCERTAINTY_FACTOR, long.seconds(nodes * gpus) * UNCERTAINTY_FACTOR, "arithmetic"
    )


def comparable(experiment: Experiment, results: Path) -> dict[Path, frozenset[str]]:
    """Return the folders whose times tell something of this experiment's -> the arms that are the same there.

    The first is its own. Another must be finished, with the same model, data, questions and machine.
    """
    found = {results: frozenset(experiment.arms)}
    for file in sorted(results.parent.glob("*/config.yaml")):
        if file.parent == results:
            continue
        try:
            other = load_config(yaml.safe_load(file.read_text(encoding="utf-8")))
        except (UserError, yaml.YAMLError):
            continue  # an older version's, say; a plan needs none of it
        if all(getattr(other, key) == getattr(experiment, key) for key in _DECIDING):
            found[file.parent] = frozenset(
                name
                for name, arm in experiment.arms.items()
                if name in other.arms and training_settings(other.arms[name]) == training_settings(arm)
            )
    return found


def measured(job: Job, jobs: Sequence[Job], folders: Mapping[Path, frozenset[str]]) -> Time | None:
    """Return the time of a job's last run, or the mean of its rule's and arm's; None where none has run.

    Args:
        jobs: of the whole graph.
        folders: as `comparable` returns them, looked into in their order.
    """
    arm = job.wildcards.get("arm")
    like = [one for one in jobs if one.rule == job.rule and one.wildcards.get("arm") == arm]
    here = next(iter(folders))
    for folder, arms in folders.items():
        if arm is not None and arm not in arms:
            continue
        for alike in ([job], like):
            tables = [folder / Path(one.benchmark).relative_to(here) for one in alike if one.benchmark]
            seconds = [_seconds(table) for table in tables if table.is_file()]
            if seconds:
                return Time(fmean(seconds), fmean(seconds), "measured" if folder == here else f"measured in {folder}")
    return None


def _seconds(benchmark: Path) -> float:
    return float(pd.read_csv(benchmark, sep="\t")["s"].iloc[0])


def times(jobs: Sequence[Job], experiment: Experiment, facts: Facts, results: Path) -> list[Time | None]:
    """Return for each job what it takes, None where that is not known; what was measured goes before arithmetic."""
    folders = comparable(experiment, results)
    return [measured(job, jobs, folders) or arithmetic(job, experiment, facts) for job in jobs]
