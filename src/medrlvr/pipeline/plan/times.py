"""Time of each job: measured if a comparable job has run before, otherwise estimated."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from medrlvr.config.arms import training_settings
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config, read_keys
from medrlvr.config.machine import Machine
from medrlvr.pipeline.plan.facts import Facts
from medrlvr.pipeline.plan.jobs import Job, gpus_of
from medrlvr.pipeline.plan.work import job_work
from medrlvr.runtime.benchmark import read_benchmark
from medrlvr.runtime.errors import UserError

UNCERTAINTY_FACTOR = 2
"""A machine may be this many times faster or slower than estimated. ASSUMED."""

MEASURED_UNCERTAINTY = 0.25
"""Largest relative error of an estimate from rates that were measured on this machine. ASSUMED."""


SHORT_RESPONSE_TOKENS = 270
"""Tokens of a response at the lower end of a range. ASSUMED. The paper's Figure 2 shows 1,082 characters on average."""


_DECIDING = ("base", "data", "benchmarks", "modes", "machine", "miniature", "calculations")
"""Times of two experiments are comparable if these settings are equal. Arms are compared one by one."""

_WITHOUT_RATES = {"training_tflops": None, "generation_tflops": None}
"""Machine settings that do not affect a time."""


@dataclass(frozen=True, slots=True)
class Time:
    """Time from `low` to `high`, in seconds, and its basis: measured or estimated."""

    low: float
    high: float
    basis: str


def arithmetic(job: Job, experiment: Experiment, facts: Facts) -> Time | None:
    """Estimate the time of a job on GPUs; None for a job on a CPU, or if a size is unknown.

    With measured rates, the range is for responses of the expected length; without, also for the longest allowed.
    """
    machine = experiment.machine
    nodes, gpus = gpus_of(job.rule, machine)
    short, long = (job_work(job, experiment, facts, tokens) for tokens in (SHORT_RESPONSE_TOKENS, math.inf))
    if not gpus or short is None or long is None:
        return None
    low, high = (work.seconds(machine, nodes * gpus) for work in (short, long))
    if has_measured_rates(machine):
        return Time(low * (1 - MEASURED_UNCERTAINTY), low * (1 + MEASURED_UNCERTAINTY), "estimated")
    return Time(low / UNCERTAINTY_FACTOR, high * UNCERTAINTY_FACTOR, "estimated")


def has_measured_rates(machine: Machine) -> bool:
    """Return whether both rates of this machine were measured. Responses then count with their expected length."""
    return machine.training_tflops is not None and machine.generation_tflops is not None


def comparable(experiment: Experiment, results: Path) -> dict[Path, frozenset[str]]:
    """Return the results folders with comparable times -> the arms that have the same settings there.

    The experiment's own folder is first. Others must be finished, with the same model, data, questions and machine.
    """
    found = {results: frozenset(experiment.arms)}
    for file in sorted(results.parent.glob("*/config.yaml")):
        if file.parent == results:
            continue
        try:
            other = load_config(read_keys(file))
        except UserError:
            continue  # for example of an older version; the plan does not need it
        if _deciding(other) == _deciding(experiment):
            found[file.parent] = frozenset(
                name
                for name, arm in experiment.arms.items()
                if name in other.arms and training_settings(other.arms[name]) == training_settings(arm)
            )
    return found


def _deciding(experiment: Experiment) -> dict[str, object]:
    values: dict[str, object] = {key: getattr(experiment, key) for key in _DECIDING}
    return values | {"machine": experiment.machine.model_copy(update=_WITHOUT_RATES)}


def measured(job: Job, jobs: Sequence[Job], folders: Mapping[Path, frozenset[str]]) -> Time | None:
    """Return the time of a job's last run, or the mean over jobs of its rule and arm; None if none has run.

    Args:
        job: the job.
        jobs: all jobs of the graph.
        folders: as `comparable` returns them; searched in this order.
    """
    arm = job.wildcards.get("arm")
    like = [one for one in jobs if one.rule == job.rule and one.wildcards.get("arm") == arm]
    here = next(iter(folders))
    for folder, arms in folders.items():
        if arm is not None and arm not in arms:
            continue
        for alike in ([job], like):
            tables = [folder / Path(one.benchmark).relative_to(here) for one in alike if one.benchmark]
            records = [record for table in tables if (record := read_benchmark(table)) is not None]
            if records:
                seconds = [record["s"] for record in records]
                return Time(fmean(seconds), fmean(seconds), "measured" if folder == here else f"measured in {folder}")
    return None


def times(jobs: Sequence[Job], experiment: Experiment, facts: Facts, results: Path) -> list[Time | None]:
    """Return the time of each job, None if unknown. A measured time takes precedence over an estimate."""
    folders = comparable(experiment, results)
    return [measured(job, jobs, folders) or arithmetic(job, experiment, facts) for job in jobs]
