"""The progress of an experiment as a text: `medrlvr status config/miniature.yaml`.

Read from the files under results/<experiment>/: what is there, and what each step's log says. Where a log has no end,
its process or its job of Slurm is looked for. Nothing is written.
"""

import platform
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from medrlvr.config.arms import SftArm
from medrlvr.config.experiment import Experiment
from medrlvr.pipeline.slurm_queue import SlurmJob
from medrlvr.runtime.progress import ALARM_PREFIX, duration, parse, run_display_name
from medrlvr.runtime.step_log import StepRecord, read_step_record

SILENCE = 15 * 60
"""Seconds without a word in the log from which on a step is called silent. Ours; at the paper's size not measured."""

WIDTH = 120
AGAIN = "Start the same command again: it goes on."


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: what it is called, its rule and wildcards, and the tables that are there when it is done."""

    display_name: str
    step: tuple[str, ...]
    log: Path
    tables: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """What a log says, and how long ago it last said anything, in seconds."""

    frame: StepRecord
    lines: list[str]
    written: float
    age: float


@dataclass(frozen=True, slots=True)
class State:
    """One word, and what there is to say beside it, a paragraph each."""

    word: str
    details: tuple[str, ...] = ()


def runs(experiment: Experiment, results: Path) -> list[Run]:
    """Return every training run of an experiment, as the rules train_sft and train_rlvr lay them out."""
    found = []
    for name, arm in experiment.arms.items():
        for seed in arm.seeds:
            folder = f"{name}/seed{seed}"
            if isinstance(arm, SftArm):
                for rate in arm.learning_rates:
                    log = results / f"logs/checkpoints/{folder}/lr{rate!r}.log"
                    trained = results / f"dynamics/{folder}/lr{rate!r}.parquet"
                    step = ("train_sft", name, str(seed), repr(rate))
                    found.append(Run(run_display_name(name, seed, rate), step, log, (trained,)))
            else:
                log = results / f"logs/checkpoints/{folder}.log"
                tables = tuple(results / f"rollouts/{folder}/{table}.parquet" for table in ("rollouts", "trainer"))
                found.append(Run(run_display_name(name, seed), ("train_rlvr", name, str(seed)), log, tables))
    return found


def read_log(path: Path, now: float) -> Log | None:
    """Return what a step's log says; None if there is none, or it was written by something else."""
    try:
        text, written = path.read_text(encoding="utf-8", errors="replace"), path.stat().st_mtime
    except FileNotFoundError:
        return None
    lines = text.split("\n")
    frame = read_step_record(lines)
    return Log(frame, lines, written, max(0.0, now - written)) if frame else None


def state_of(run: Run, log: Log | None, queue: Sequence[SlurmJob] | None, folder: str) -> State:
    """Return how far a training run is.

    Args:
        log: its own.
        queue: the user's jobs of Slurm; None: unknown.
        folder: in which Snakemake runs.
    """
    job, made = _job_of(run, queue, folder), all(table.is_file() for table in run.tables)
    if log is None:
        return State("done") if made else _unbegun(job)
    if log.frame.end is None:
        state = unended(log, queue, run.display_name)
        # Submitted once more by Snakemake, or put back into the queue by Slurm under its old number.
        again = job is not None and (state.word in ("lost", "stopped") or job.state == "PENDING")
        return _unbegun(job) if again else state
    if log.frame.end != "done":
        state = failed(run.log, log, run.display_name)
        if job is None or job.number == log.frame.slurm_job:
            return state
        waiting = _unbegun(job)
        return State(waiting.word, (*waiting.details, f"before that it {state.word}: {log.frame.reason}"))
    if not made:
        return _unbegun(job)
    at, _, alarms = _told(log, run.display_name)
    return State("done", (", ".join(filter(None, [at, f"in {log.frame.took}"])), *alarms))


def _job_of(run: Run, queue: Sequence[SlurmJob] | None, folder: str) -> SlurmJob | None:
    # As Snakemake's executor for Slurm writes it; the experiment is not in it, only the folder.
    rule, *wildcards = run.step
    comment = f"rule_{rule}_wildcards_{'_'.join(wildcards)}"
    return next((job for job in queue or () if (job.comment, job.folder) == (comment, folder)), None)


def _unbegun(job: SlurmJob | None) -> State:
    if job is None:
        return State("waiting")
    if job.state == "PENDING":
        return State("waiting", (f"pending at Slurm ({job.reason}), job {job.number}",))
    return State("running", (f"at Slurm ({job.state}), job {job.number}; its log has not begun",))


def unended(log: Log, queue: Sequence[SlurmJob] | None, display_name: str | None) -> State:
    """Return the state of a step whose log has no end: running, silent, stopped, or lost by Slurm.

    Args:
        display_name: its own name in its lines; None: any.
    """
    at, left, alarms = _told(log, display_name)
    frame, quiet = log.frame, duration(log.age)
    numbers = None if queue is None else {job.number for job in queue}
    ours = frame.slurm_job is None and frame.host == platform.node()
    there: bool | None = None
    if frame.slurm_job and numbers is not None:
        there = frame.slurm_job in numbers
    elif ours:
        there = _lives(frame.process, log.written)
    if there is False:
        word, what = ("stopped", "its process") if ours else ("lost", f"Slurm's job {frame.slurm_job}")
        return _state(word, at, f"{what} is gone; last heard of {quiet} ago. {AGAIN}")
    if log.age < SILENCE:
        return _state("running", at + left, *alarms)
    where = f"process {frame.process} on {frame.host}" + (f", Slurm job {frame.slurm_job}," if frame.slurm_job else "")
    if there:
        return _state("silent", at, f"{where} is there, but has said nothing for {quiet}; it may hang.")
    return _state(
        "silent", at, f"{where} has said nothing for {quiet}: it has stopped or hangs. If it is gone: {AGAIN}"
    )


def _state(word: str, *details: str) -> State:
    return State(word, tuple(filter(None, details)))


def _lives(process: int, written: float) -> bool:
    try:
        found = psutil.Process(process)
        # What was started after the log's last word is another process of the same number.
        return bool(found.status() != psutil.STATUS_ZOMBIE and found.create_time() <= written)
    except psutil.NoSuchProcess:
        return False


def failed(path: Path, log: Log, display_name: str | None) -> State:
    """Return why a step failed or was stopped, how far it had come, and where to read on."""
    at, _, _ = _told(log, display_name)
    why = f"{duration(log.age)} ago: {log.frame.reason}"
    return _state(log.frame.end or "failed", at, why, f"log: {path}")


def _told(log: Log, display_name: str | None) -> tuple[str, str, list[str]]:
    """Return how far the step said it was (or ""), the time left (or ""), and the alarms that sounded last."""
    begun = at = left = ""
    alarms: list[str] = []
    sounding = False
    for line in log.lines:
        if (told := parse(line)) and display_name in (None, told[0]):
            (_, at, left), sounding = told, False
        elif display_name and line.startswith(f"{display_name}: {ALARM_PREFIX}"):
            alarms = [*(alarms if sounding else []), line.removeprefix(f"{display_name}: ")]
            sounding = True
        elif display_name and line.startswith(f"{display_name}: "):
            begun = line.removeprefix(f"{display_name}: ")
    return at or begun, left, alarms


def other_steps(results: Path, known: set[Path], queue: Sequence[SlurmJob] | None, now: float) -> dict[str, State]:
    """Return what else runs or has failed, by rule and wildcards."""
    found = {}
    for path in sorted((results / "logs").rglob("*.log")):
        log = read_log(path, now) if path not in known else None
        if log and log.frame.end != "done":
            found[log.frame.step] = failed(path, log, None) if log.frame.end else unended(log, queue, None)
    return found


def milestones(experiment: Experiment, results: Path) -> dict[str, str]:
    """Return what is there of the rest: "done", "waiting", or how many of how many."""
    trained = [f"{name}/seed{seed}" for name, arm in experiment.arms.items() for seed in arm.seeds]
    files = {
        "questions": ["data/train.parquet"],
        "base model": ["base.json"],
        "choice among candidates": [f"development/{run}/selection.json" for run in trained],
        "evaluation": [f"eval/{model}/metrics.json" for model in experiment.models()],
        "page": ["report.html"],
    }
    counts = {name: (sum((results / file).is_file() for file in made), len(made)) for name, made in files.items()}
    return {
        name: "done" if there == total else f"{there} of {total}" if there else "waiting"
        for name, (there, total) in counts.items()
    }


def render(experiment: Experiment, queue: Sequence[SlurmJob] | None, now: float) -> str:
    """Return the table for a person: training runs, what else runs or failed, and what is there.

    Args:
        queue: the user's jobs of Slurm; None: unknown.
        now: seconds since the epoch.
    """
    results = Path("results") / experiment.experiment
    trainings = runs(experiment, results)
    states = {
        run.display_name: state_of(run, read_log(run.log, now), queue, str(Path.cwd())) for run in trainings
    } | other_steps(results, {run.log for run in trainings}, queue, now)
    rest = milestones(experiment, results)
    name_width = max(map(len, [*states, *rest])) + 2
    lines = [f"{experiment.experiment}: {experiment.title}", ""]
    for name, state in states.items():
        head = f"{name:{name_width}}{state.word:9}"
        body = [
            line
            for detail in state.details
            for line in textwrap.wrap(detail, max(40, WIDTH - len(head)), break_on_hyphens=False)
        ]
        lines += [f"{head}{body[0] if body else ''}".rstrip(), *(f"{'':{len(head)}}{line}" for line in body[1:])]
    return "\n".join([*lines, "", *(f"{name:{name_width}}{state}" for name, state in rest.items())])
