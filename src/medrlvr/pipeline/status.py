"""The progress of an experiment as text: `medrlvr status config/miniature.yaml`.

It is read from the files in results/<experiment>/ and from the log of each step. If a log has no end, this module looks
for the step's process or Slurm job. It writes nothing.
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
"""Seconds without log output after which a step is called silent. Our choice; not measured at the paper's scale."""

WIDTH = 120
AGAIN = "Start the same command again to resume it."


@dataclass(frozen=True, slots=True)
class Run:
    """One training run: its display name, its rule and wildcards, its log, and the tables that it writes at its end."""

    display_name: str
    step: tuple[str, ...]
    log: Path
    tables: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Log:
    """A log: its step, its lines, when it was last written (seconds since the epoch), and how long ago that is (s)."""

    frame: StepRecord
    lines: list[str]
    written: float
    age: float


@dataclass(frozen=True, slots=True)
class State:
    """The state of a step: one word, and details, one paragraph each."""

    word: str
    details: tuple[str, ...] = ()


def runs(experiment: Experiment, results: Path) -> list[Run]:
    """Return every training run of an experiment, with the paths of the rules train_sft and train_rlvr."""
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
    """Read a step's log; None if it does not exist, or `step_log` did not write it."""
    try:
        text, written = path.read_text(encoding="utf-8", errors="replace"), path.stat().st_mtime
    except FileNotFoundError:
        return None
    lines = text.split("\n")
    frame = read_step_record(lines)
    return Log(frame, lines, written, max(0.0, now - written)) if frame else None


def state_of(run: Run, log: Log | None, queue: Sequence[SlurmJob] | None, folder: str) -> State:
    """Return the state of a training run.

    Args:
        run: the run.
        log: its log; None if it has none.
        queue: the user's Slurm jobs; None if unknown.
        folder: the folder in which Snakemake runs.
    """
    job, complete = _job_of(run, queue, folder), all(table.is_file() for table in run.tables)
    if log is None:
        return State("done") if complete else _not_started(job)
    if log.frame.end is None:
        state = unended(log, queue, run.display_name)
        # Snakemake has submitted it again, or Slurm has put it back into the queue under its old number.
        again = job is not None and (state.word in ("lost", "stopped") or job.state == "PENDING")
        return _not_started(job) if again else state
    if log.frame.end != "done":
        state = failed(run.log, log, run.display_name)
        if job is None or job.number == log.frame.slurm_job:
            return state
        waiting = _not_started(job)
        failure = "was stopped" if state.word == "stopped" else "failed"
        return State(waiting.word, (*waiting.details, f"the previous attempt {failure}: {log.frame.reason}"))
    if not complete:
        return _not_started(job)
    at, _, alarms = _progress(log, run.display_name)
    return State("done", (", ".join(filter(None, [at, f"in {log.frame.took}"])), *alarms))


def _job_of(run: Run, queue: Sequence[SlurmJob] | None, folder: str) -> SlurmJob | None:
    # Snakemake's Slurm executor writes this comment. It does not name the experiment, so the folder is compared too.
    rule, *wildcards = run.step
    comment = f"rule_{rule}_wildcards_{'_'.join(wildcards)}"
    return next((job for job in queue or () if (job.comment, job.folder) == (comment, folder)), None)


def _not_started(job: SlurmJob | None) -> State:
    if job is None:
        return State("waiting")
    if job.state == "PENDING":
        return State("waiting", (f"pending in Slurm's queue ({job.reason}), job {job.number}",))
    return State("running", (f"in Slurm ({job.state}), job {job.number}; it has no log yet",))


def unended(log: Log, queue: Sequence[SlurmJob] | None, display_name: str | None) -> State:
    """Return the state of a step whose log has no end: running, silent, stopped, or lost by Slurm.

    Args:
        log: its log.
        queue: the user's Slurm jobs; None if unknown.
        display_name: the name at the start of its progress lines; None for any.
    """
    at, left, alarms = _progress(log, display_name)
    frame, quiet = log.frame, duration(log.age)
    numbers = None if queue is None else {job.number for job in queue}
    ours = frame.slurm_job is None and frame.host == platform.node()
    exists: bool | None = None
    if frame.slurm_job and numbers is not None:
        exists = frame.slurm_job in numbers
    elif ours:
        exists = _lives(frame.process, log.written)
    if exists is False:
        word, what = ("stopped", "its process") if ours else ("lost", f"Slurm job {frame.slurm_job}")
        return _state(word, at, f"{what} no longer exists; the last log output was {quiet} ago. {AGAIN}")
    if log.age < SILENCE:
        return _state("running", at + left, *alarms)
    where = f"process {frame.process} on {frame.host}" + (f", Slurm job {frame.slurm_job}," if frame.slurm_job else "")
    if exists:
        return _state("silent", at, f"{where} exists, but has printed nothing for {quiet}; it may hang.")
    advice = "If it no longer exists, start the same command again to resume it."
    return _state("silent", at, f"{where} has printed nothing for {quiet}: it has stopped or hangs. {advice}")


def _state(word: str, *details: str) -> State:
    return State(word, tuple(filter(None, details)))


def _lives(process: int, written: float) -> bool:
    try:
        found = psutil.Process(process)
        # A process that was started after the log's last line is another one with the same ID.
        return bool(found.status() != psutil.STATUS_ZOMBIE and found.create_time() <= written)
    except psutil.NoSuchProcess:
        return False


def failed(path: Path, log: Log, display_name: str | None) -> State:
    """Return why a step failed or was stopped, its last position, and the path of its log."""
    at, _, _ = _progress(log, display_name)
    why = f"{duration(log.age)} ago: {log.frame.reason}"
    return _state(log.frame.end or "failed", at, why, f"log: {path}")


def _progress(log: Log, display_name: str | None) -> tuple[str, str, list[str]]:
    """Return the step's last position (or ""), the time left (or ""), and the alarms of the last update with any."""
    started = at = left = ""
    alarms: list[str] = []
    raised = False
    for line in log.lines:
        if (parsed := parse(line)) and display_name in (None, parsed[0]):
            (_, at, left), raised = parsed, False
        elif display_name and line.startswith(f"{display_name}: {ALARM_PREFIX}"):
            alarms = [*(alarms if raised else []), line.removeprefix(f"{display_name}: ")]
            raised = True
        elif display_name and line.startswith(f"{display_name}: "):
            started = line.removeprefix(f"{display_name}: ")
    return at or started, left, alarms


def other_steps(results: Path, known: set[Path], queue: Sequence[SlurmJob] | None, now: float) -> dict[str, State]:
    """Return the other steps that are running or have failed: rule and wildcards -> state."""
    found = {}
    for path in sorted((results / "logs").rglob("*.log")):
        log = read_log(path, now) if path not in known else None
        if log and log.frame.end != "done":
            found[log.frame.step] = failed(path, log, None) if log.frame.end else unended(log, queue, None)
    return found


def milestones(experiment: Experiment, results: Path) -> dict[str, str]:
    """Return the progress of the other parts: "done", "waiting", or "N of M"."""
    trained = [f"{name}/seed{seed}" for name, arm in experiment.arms.items() for seed in arm.seeds]
    files = {
        "questions": ["data/train.parquet"],
        "base model": ["base.json"],
        "checkpoint selection": [f"development/{run}/selection.json" for run in trained],
        "evaluation": [f"eval/{model}/metrics.json" for model in experiment.models()],
        "report": ["report.html"],
    }
    counts = {name: (sum((results / file).is_file() for file in made), len(made)) for name, made in files.items()}
    return {
        name: "done" if there == total else f"{there} of {total}" if there else "waiting"
        for name, (there, total) in counts.items()
    }


def render(experiment: Experiment, queue: Sequence[SlurmJob] | None, now: float) -> str:
    """Return the table as text: training runs, other running or failed steps, and the progress of the rest.

    Args:
        experiment: the settings.
        queue: the user's Slurm jobs; None if unknown.
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
