"""What a run would do, before anything is started: what runs and why, what it takes, and the commands.

Times of a step that has run before are measured: the tables beside the results say them. Others are counted, for GPUs
only, from tokens and parameters and from what is assumed of the machine; then a range is told, never one number.
"""

import math
import os
import re
import shlex
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

import pandas as pd
import yaml

from medrlvr.config import Experiment, Machine, Mode, RlvrArm, SftArm, load, training_settings
from medrlvr.data.registry import Source, load_registry
from medrlvr.environment import check_device
from medrlvr.errors import UserError
from medrlvr.progress import duration
from medrlvr.shapes import known_shape
from medrlvr.training.disk import Weights, disk_needed, gigabytes, sft_disk_needed, weights_in, weights_of
from medrlvr.training.rollouts import update_sizes

REGISTRY = "config/datasets.tsv"

PEAK = 312e12
"""FLOP a second of a GPU in bfloat16, ASSUMED: an A100's by its maker's data sheet. Newer kinds do more."""

TRAINING_SHARE, GENERATION_SHARE = 0.3, 0.1
"""Share of the peak that is reached, ASSUMED: in training, and in generation, which memory bounds."""

EITHER_WAY = 2
"""How many times faster or slower than counted a machine may be, ASSUMED."""

PROMPT_TOKENS = 340
"""Of a prompt, ASSUMED. MedQA's development questions with the paper's instruction have 1,363 characters on average."""

SHORT_RESPONSE_TOKENS = 270
"""Of a response at the lower end of a range, ASSUMED. The paper's Figure 2 shows 1,082 characters on average."""

_CAUSES = {
    "Missing output files": "not there yet",
    "Incomplete output files": "was interrupted",
    "Updated input files": "an input is newer",
    "Set of input files has changed": "set of input files has changed",
    "Params have changed": "settings have changed",
    "Software environment definition has changed": "packages have changed",
    "Code has changed": "code has changed",
    "Forced execution": "asked for",
}
_FOLLOWS = "a step before it runs"

_TRAINING = ("train_sft", "train_rlvr")
_DECIDING = ("base", "data", "benchmarks", "modes", "machine", "miniature")
"""Settings in which experiments agree whose times can be compared; of arms their own are looked at."""
_ASKING = ("generate_answers", "generate_selected", "generate_development", "generate_curve")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One step of the graph.

    Attributes:
        rule: whose job it is.
        wildcards: by name.
        inputs, outputs: files and folders, as the workflow names them.
        benchmark: the table of its time and memory, there or not.
        reason: why Snakemake runs it, in Snakemake's words; None: nothing has changed, it is not run.
        limit: seconds that a profile allows it.
    """

    rule: str
    wildcards: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    benchmark: str
    reason: str | None
    limit: float | None = None


class Record(Protocol):
    """What Snakemake's log plug-ins are told of a job; of `resources` only `runtime`, minutes, is looked at."""

    rule_name: str
    wildcards: Mapping[str, str]
    input: Sequence[str]
    output: Sequence[str]
    benchmark: str
    reason: str
    resources: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Time:
    """Seconds from `low` to `high`, and on what basis: measured or arithmetic."""

    low: float
    high: float
    basis: str


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations of a step: of generating, and of passes with and without gradients."""

    generation: float
    training: float

    def seconds(self, gpus: int) -> float:
        """Return how long it takes on so many GPUs as assumed."""
        return (self.generation / GENERATION_SHARE + self.training / TRAINING_SHARE) / (PEAK * gpus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known before the run.

    Attributes:
        train: training questions, none removed yet; None where nobody counted them.
        held_out: the same of the development set and the benchmarks, by name.
        weights: of the base; None where it is not fetched and its size is not known by heart.
        free: bytes of free disk where results are written.
    """

    train: int | None
    held_out: Mapping[str, int | None]
    weights: Weights | None
    free: int


def plan(experiment: Experiment, jobs: Sequence[Job], overlays: Sequence[str], profile: str | None) -> str:
    """Return the plan as a text, with what this machine and its environment add to it.

    Args:
        jobs: of the whole graph, as `jobs_of` returns them.
        overlays: files, as the person named them.
        profile: of Snakemake, None for this machine.
    """
    results, sources = Path("results", experiment.experiment), load_registry(REGISTRY)
    mirror = os.environ.get("MEDRLVR_MIRROR")
    problem = None
    if experiment.machine.device == "gpu" and any(job.reason for job in jobs):
        try:
            check_device(experiment.machine)
        except UserError as error:
            problem = str(error)
    return render(
        jobs,
        experiment,
        gather_facts(experiment, sources, results, jobs),
        results,
        files=overlays,
        profile=profile,
        absent=absent_files(jobs, sources, mirror or experiment.data.mirror),
        device_problem=problem,
        mirror=mirror,
    )


def jobs_of(due: Iterable[Record], graph: Iterable[Record]) -> list[Job]:
    """Return the steps of the whole graph, those without output left out.

    Args:
        due: what Snakemake would run now.
        graph: what it would run if nothing were there.
    """
    reasons = {(one.rule_name, *one.output): one.reason for one in due}
    return [
        Job(
            rule=one.rule_name,
            wildcards=one.wildcards,
            inputs=tuple(one.input),
            outputs=tuple(one.output),
            benchmark=one.benchmark,
            reason=reasons.get((one.rule_name, *one.output)),
            limit=60 * one.resources["runtime"] if isinstance(one.resources.get("runtime"), int) else None,
        )
        for one in graph
        if one.output
    ]


def refusal(printed: str) -> str:
    """Return of what a refused dry run printed the part from its error on."""
    fault = re.search(r"^\S*(Error|Exception)\b", printed, re.MULTILINE)
    return printed[fault.start() if fault else 0 :].strip()


def gather_facts(experiment: Experiment, sources: Mapping[str, Source], results: Path, jobs: Sequence[Job]) -> Facts:
    """Return what is known of data, model and disk; of data by the registry and the settings, not by what lies there.

    Args:
        results: the experiment's folder, there or not.
        jobs: of the whole graph.
    """
    miniature = experiment.miniature
    generated = {
        "miniature/train": miniature.train,
        "miniature/dev": miniature.dev,
        "miniature/test": miniature.test,
        "miniature_ood/test": miniature.ood_test,
    }

    def count(name: str, rows: int | None) -> int | None:
        whole = generated.get(name, sources[name].rows)
        return whole if rows is None or whole is None else min(rows, whole)

    drawn = {"development": experiment.data.development_rows}
    drawn |= {name: benchmark.rows for name, benchmark in experiment.benchmarks.items()}
    return Facts(
        train=count(experiment.data.train, experiment.data.train_rows),
        held_out={name: count(source, drawn[name]) for name, source in experiment.held_out().items()},
        weights=_base_weights(experiment, results, jobs),
        free=shutil.disk_usage(next(folder for folder in (results, *results.parents) if folder.is_dir())).free,
    )


def _base_weights(experiment: Experiment, results: Path, jobs: Sequence[Job]) -> Weights | None:
    base = experiment.base
    fetched = results / "models/base"
    again = any(job.reason is not None and str(fetched) in job.outputs for job in jobs)
    folder = Path(base.name) if base.source in ("path", "embedded") else None if again else fetched
    if folder is not None and any(folder.glob("*.safetensors")):
        return weights_in(folder)
    shape = known_shape(base.name) if base.source == "hub" else None
    return weights_of(shape) if shape else None


def absent_files(jobs: Iterable[Job], sources: Mapping[str, Source], mirror: str | None) -> list[str]:
    """Return in words which data sets' files will be looked for in vain; what a hub has nobody asks here.

    Args:
        mirror: the folder that stands in for the hub.
    """
    fetched = [job for job in jobs if job.rule == "fetch_dataset" and job.reason is not None]
    found = []
    for source in (sources[f"{job.wildcards['dataset']}/{job.wildcards['split']}"] for job in fetched):
        if mirror is not None and not (Path(mirror) / str(source.mirror_file)).is_file():
            found.append(f"{source.name}: {Path(mirror) / str(source.mirror_file)}")
        elif mirror is None and source.home == "local":
            found.append(
                f"{source.name}: {source.mirror_file} below a mirror folder; no hub has it, and neither data.mirror nor"
                " MEDRLVR_MIRROR names one"
            )
    return found


def cause(reason: str) -> str:
    """Return in words what comes first in Snakemake's reason for a job."""
    parts = reason.split("; ")
    found = [words for begin, words in _CAUSES.items() if any(part.startswith(begin) for part in parts)]
    return found[0] if found else _FOLLOWS


def gpus_of(rule: str, machine: Machine) -> tuple[int, int]:
    """Return how many nodes a rule's job takes, and how many GPUs on each of them."""
    if machine.device == "cpu":
        return 1, 0
    if rule in _TRAINING:
        return machine.nodes if rule == "train_rlvr" else 1, machine.gpus_per_node
    return 1, 1 if rule in _ASKING else 0


def rlvr_work(
    arm: RlvrArm, checkpointing: bool, parameters: int, questions: int, prompt_tokens: int, response_tokens: float
) -> Work:
    """Return the work of a whole run; a token costs 2 operations for each parameter forward, 4 backward.

    Every response passes once through the policy, through the reference where there is a penalty to it, and through
    the critic where there is one; and policy and critic are trained on it, with one more pass forward where activations
    are not kept.
    """
    responses = sum(_update_sizes(arm, questions)) * arm.samples_per_prompt
    tokens = responses * (prompt_tokens + response_tokens)
    critic = arm.has_critic
    scored = 1 + arm.has_reference + critic
    trained = (1 + critic) * arm.ppo_epochs
    return Work(
        generation=2 * parameters * tokens,
        training=(2 * scored + _trained(checkpointing) * trained) * parameters * tokens,
    )


def sft_work(arm: SftArm, checkpointing: bool, parameters: int, questions: int, tokens: int) -> Work:
    """Return the work of one learning rate; `tokens` are those of question and letter."""
    return Work(generation=0, training=_trained(checkpointing) * parameters * arm.epochs * questions * tokens)


def asking_work(
    asked: Iterable[tuple[int, Mode]], models: int, parameters: int, prompt_tokens: int, longest: float
) -> Work:
    """Return the work of asking several models the same.

    Args:
        asked: questions and the mode in which they are asked.
        longest: tokens at which responses end, if their mode does not end them before.
    """
    tokens = 0.0
    for questions, mode in asked:
        response = 1 if mode.answer == "constrained" else min(longest, mode.max_tokens)
        tokens += questions * mode.samples * (prompt_tokens + response)
    return Work(generation=2 * parameters * models * tokens, training=0)


def _trained(checkpointing: bool) -> int:
    return 8 if checkpointing else 6


def _update_sizes(arm: RlvrArm, questions: int) -> list[int]:
    questions = min(questions, arm.rows or questions)
    # Rows are repeated until every optimiser step is full, as `preparation.fill_steps` does it.
    step = arm.train_batch_size // math.gcd(arm.train_batch_size, arm.samples_per_prompt)
    return update_sizes(questions + -questions % step, arm.prompts_per_update, arm.episodes)


def _work(job: Job, experiment: Experiment, facts: Facts, response_tokens: float) -> Work | None:
    """Return the work of a job whose responses end at `response_tokens` at the latest; None: not known."""
    if facts.weights is None:
        return None
    parameters, checkpointing = facts.weights.parameters, experiment.machine.gradient_checkpointing
    arm = experiment.arms.get(job.wildcards.get("arm", ""))
    if job.rule in _TRAINING:
        if facts.train is None:
            return None
        if isinstance(arm, RlvrArm):
            prompt, response = min(PROMPT_TOKENS, arm.prompt_max_tokens), min(response_tokens, arm.response_max_tokens)
            return rlvr_work(arm, checkpointing, parameters, facts.train, prompt, response)
        if isinstance(arm, SftArm):
            return sft_work(arm, checkpointing, parameters, facts.train, min(PROMPT_TOKENS, arm.max_tokens))
    if job.rule == "generate_answers":
        models, sets = 1, experiment.sets_of(job.wildcards["model"])
    elif job.rule == "generate_selected":
        models, sets = 2, experiment.sets_of(f"{job.wildcards['arm']}/seed{job.wildcards['seed']}")
    elif isinstance(arm, SftArm):
        models, sets = len(arm.learning_rates), {"development": arm.modes[:1]}
    elif isinstance(arm, RlvrArm) and facts.train is not None:
        curve = job.rule == "generate_curve"
        models = _candidates(arm, facts.train) + curve
        sets = dict.fromkeys(facts.held_out if curve else ("development",), arm.modes[:1])
    else:
        return None
    benchmark_of = {name: benchmark for name, (benchmark, _) in experiment.asked().items()}
    asked = []
    for name, modes in sets.items():
        questions = facts.held_out[benchmark_of.get(name, name)]
        if questions is None:
            return None
        asked += [(questions, experiment.modes[mode]) for mode in modes]
    prompt_tokens = min(PROMPT_TOKENS, experiment.evaluation.prompt_max_tokens)
    return asking_work(asked, models, parameters, prompt_tokens, response_tokens)


def _candidates(arm: RlvrArm, questions: int) -> int:
    return (len(_update_sizes(arm, questions)) - 1) // arm.save_every + 1


def arithmetic(job: Job, experiment: Experiment, facts: Facts) -> Time | None:
    """Return the time of a job on GPUs, counted; None on a CPU, or where sizes are not known."""
    nodes, gpus = gpus_of(job.rule, experiment.machine)
    short, long = (_work(job, experiment, facts, tokens) for tokens in (SHORT_RESPONSE_TOKENS, math.inf))
    if not gpus or short is None or long is None:
        return None
    return Time(short.seconds(nodes * gpus) / EITHER_WAY, long.seconds(nodes * gpus) * EITHER_WAY, "arithmetic")


def comparable(experiment: Experiment, results: Path) -> dict[Path, frozenset[str]]:
    """Return the folders whose times tell something of this experiment's -> the arms that are the same there.

    The first is its own. Another must be finished, with the same model, data, questions and machine.
    """
    found = {results: frozenset(experiment.arms)}
    for file in sorted(results.parent.glob("*/config.yaml")):
        if file.parent == results:
            continue
        try:
            other = load(yaml.safe_load(file.read_text(encoding="utf-8")))
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


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes that a job takes at its fullest, and that it leaves in the end."""

    peak: int
    left: int


def space(job: Job, experiment: Experiment, facts: Facts) -> Space | None:
    """Return the disk that a job takes; None where it is little, or not known: `weights` of the facts says which."""
    if facts.weights is None:
        return None
    machine, arm = experiment.machine, experiment.arms.get(job.wildcards.get("arm", ""))
    if job.rule == "fetch_model":
        size = 2 * facts.weights.parameters + facts.weights.others
        return Space(size, size)
    if job.rule == "train_sft" and isinstance(arm, SftArm):
        needed = sft_disk_needed(facts.weights, arm, machine)
        return Space(needed.models + needed.trainer, needed.models)
    if job.rule == "train_rlvr" and isinstance(arm, RlvrArm) and facts.train is not None:
        needed = disk_needed(facts.weights, arm, machine, _update_sizes(arm, facts.train))
        # The last and the chosen stay, hard links in models/ not counted.
        candidates = _candidates(arm, facts.train)
        kept = candidates if experiment.evaluation.keep_checkpoints else min(2, candidates)
        left = needed.models // candidates * kept + needed.rollouts
        return Space(needed.models + needed.trainer + needed.rollouts, left)
    return None


def peak_space(spaces: Sequence[Space], side_by_side: bool) -> int:
    """Return the disk of several jobs at their fullest: all at once, or each beside what the others leave."""
    if side_by_side:
        return sum(one.peak for one in spaces)
    return sum(one.left for one in spaces) + max((one.peak - one.left for one in spaces), default=0)


def longest_chain(jobs: Sequence[Job], seconds: Sequence[float]) -> tuple[float, list[str]]:
    """Return the seconds and the rules of the chain of jobs, each waiting for the one before, that takes longest."""
    made = {file: index for index, job in enumerate(jobs) for file in job.outputs}
    ends: dict[int, float] = {}
    before: dict[int, int | None] = {}

    def end(index: int) -> float:
        if index not in ends:
            needed = sorted({made[file] for file in jobs[index].inputs if file in made})
            before[index] = max(needed, key=end) if needed else None
            ends[index] = seconds[index] + max(map(end, needed), default=0)
        return ends[index]

    last = max(range(len(jobs)), key=end)
    chain: list[str] = []
    link: int | None = last
    while link is not None:
        if seconds[link] > 0:
            chain.append(jobs[link].rule)
        link = before[link]
    return ends[last], chain[::-1]


def render(
    jobs: Sequence[Job],
    experiment: Experiment,
    facts: Facts,
    results: Path,
    *,
    files: Sequence[str],
    profile: str | None,
    absent: Sequence[str] = (),
    device_problem: str | None = None,
    mirror: str | None = None,
) -> str:
    """Return the plan as a text.

    Args:
        jobs: of the whole graph, in an order in which they could run.
        files: the overlays, as the person named them.
        profile: of Snakemake, None for this machine.
        absent: as `absent_files` returns it.
        device_problem: why this machine cannot run it.
        mirror: MEDRLVR_MIRROR, where it is set.
    """
    overlays = " and ".join(files)
    head = f"{experiment.title}: {results}, from config/config.yaml{f' with {overlays} over it' if files else ''}"
    planned = [job for job in jobs if job.reason is not None]
    if not planned:
        page = results / "report.html"
        return f"{head}\n\nNothing to do: all {len(jobs)} steps are there; {page} is there.\n"
    estimates = times(jobs, experiment, facts, results)
    pairs = [(job, estimate) for job, estimate in zip(jobs, estimates, strict=True) if job.reason is not None]
    lines = [
        head,
        "Nothing was started, nothing was written.",
        "",
        *_table(jobs, estimates, experiment, facts, profile is not None),
        "",
    ]
    lines += [*_whole(pairs, experiment, facts, side_by_side=profile is not None), ""]
    for basis in _bases({estimate.basis for _, estimate in pairs if estimate}, experiment.machine, facts):
        lines += textwrap.wrap(basis, 110, subsequent_indent="  ", break_on_hyphens=False)
    lines.append("")
    if absent:
        lines += ["Files that are not there:", *(f"  {file}" for file in absent), ""]
    late = _late(pairs)
    if late:
        lines += ["The profile may stop:", *(f"  {line}" for line in late), ""]
    if device_problem is not None and profile is None:
        lines += ["This machine cannot run it:", *(f"  {line}" for line in device_problem.splitlines()), ""]
    return "\n".join([*lines, *_commands({job.rule for job in planned}, files, profile, mirror)]) + "\n"


def _table(
    jobs: Sequence[Job], estimates: Sequence[Time | None], experiment: Experiment, facts: Facts, side_by_side: bool
) -> Iterable[str]:
    rows = [("step", "run", "cached", "GPUs", "GPU-hours", "time", "disk", "basis", "why it runs")]
    for rule in dict.fromkeys(job.rule for job in jobs):
        both = [(job, estimate) for job, estimate in zip(jobs, estimates, strict=True) if job.rule == rule]
        run = [(job, estimate) for job, estimate in both if job.reason is not None]
        nodes, gpus = gpus_of(rule, experiment.machine)
        known = [estimate for _, estimate in run if estimate is not None]
        counted = [size for job, _ in run if (size := space(job, experiment, facts)) is not None]
        whole = len(known) == len(run)
        low, high = (sum(getattr(estimate, end) for estimate in known) for end in ("low", "high"))
        why = [cause(job.reason) for job, _ in run if job.reason is not None]
        first = next((words for words in why if words != _FOLLOWS), _FOLLOWS)
        rows.append(
            (
                rule,
                str(len(run)),
                str(len(both) - len(run)),
                (f"{nodes} x {gpus}" if nodes > 1 else str(gpus)) if gpus else "",
                _range(low * nodes * gpus / 3600, high * nodes * gpus / 3600) if run and gpus and whole else "",
                _span(low, high) if run and whole else "not known yet" if run else "",
                gigabytes(peak_space(counted, side_by_side)) if counted else "",
                ", ".join(sorted({estimate.basis for estimate in known})) if whole else "",
                first if run else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _whole(
    pairs: Sequence[tuple[Job, Time | None]], experiment: Experiment, facts: Facts, side_by_side: bool
) -> Iterable[str]:
    known = [estimate for _, estimate in pairs if estimate is not None]
    unknown = len(pairs) - len(known)
    but = f", and {unknown} of {len(pairs)} steps whose time is not known yet" if unknown else ""
    low, high = (sum(getattr(estimate, end) for estimate in known) for end in ("low", "high"))
    yield f"One after another: {_span(low, high)}{but}" if known else "How long it takes is not known yet."
    if side_by_side and known:
        jobs = [job for job, _ in pairs]
        ends = [
            longest_chain(jobs, [getattr(estimate, end) if estimate else 0 for _, estimate in pairs])
            for end in ("low", "high")
        ]
        yield f"Side by side, with no waiting for the cluster: {_span(ends[0][0], ends[1][0])}{but}"
        yield f"  the longest chain: {', '.join(dict.fromkeys(ends[1][1]))}"
    if experiment.machine.device == "gpu" and known:
        held = [math.prod(gpus_of(job.rule, experiment.machine)) / 3600 for job, _ in pairs]
        hours = [
            sum(gpus * getattr(estimate, end) for gpus, (_, estimate) in zip(held, pairs, strict=True) if estimate)
            for end in ("low", "high")
        ]
        yield f"GPU-hours: {_range(*hours)}"
    counted = [size for job, _ in pairs if (size := space(job, experiment, facts)) is not None]
    if facts.weights is None:
        yield f"Disk: not known before the base is fetched; {gigabytes(facts.free)} free"
    elif counted:
        peak = peak_space(counted, side_by_side)
        enough = "" if peak <= facts.free else ": NOT ENOUGH. Raise save_every, or move results/ to a larger disk"
        manner = "with all runs at once" if side_by_side else "with one run after another"
        yield (
            f"Disk at the fullest, {manner}: {gigabytes(peak)}, {gigabytes(sum(one.left for one in counted))} of it to"
            f" stay; {gigabytes(facts.free)} free{enough}"
        )


def _bases(bases: set[str], machine: Machine, facts: Facts) -> Iterable[str]:
    if any(basis.startswith("measured") for basis in bases):
        yield "measured: what the step, or another of its rule, took when it ran last, with the settings of then."
    if "arithmetic" in bases and facts.weights is not None:
        again = ", once more forward for the activations" if machine.gradient_checkpointing else ""
        yield (
            f"arithmetic: {facts.weights.parameters:,} parameters; 2 operations a token forward, 4 backward{again};"
            " attention, starts of engines, saving and offload are not counted. ASSUMED:"
            f" GPUs of {PEAK / 1e12:.0f} TFLOP/s in bfloat16 (an A100's peak; newer kinds do more), of which training"
            f" reaches {TRAINING_SHARE:.0%} and generation {GENERATION_SHARE:.0%}, or {EITHER_WAY} times less or more;"
            f" prompts of {PROMPT_TOKENS} tokens; responses of {SHORT_RESPONSE_TOKENS} (the paper's, by their"
            " characters) up to the longest allowed. A run that was stopped goes on, and takes less than is said here."
        )
    if not bases:
        yield "A step's time is known once it has run here; before, GPUs' by arithmetic."
    yield (
        "disk: models, the trainer's checkpoints, all responses. Tables, answers and the page are little; the hub's own"
        " cache, which has a downloaded base once more, lies elsewhere."
    )
    yield "cached: there, and neither settings nor inputs have changed since."


def _late(pairs: Iterable[tuple[Job, Time | None]]) -> list[str]:
    found = {}
    for job, estimate in pairs:
        if estimate is not None and job.limit is not None and estimate.high > job.limit:
            found[job.rule] = (
                f"{job.rule} may take {_span(estimate.low, estimate.high)}; set-resources allows it"
                f" {duration(job.limit)} (runtime)"
            )
    return [*found.values()]


_STAGES = {
    "the data only": ("split_questions", "write_data_card"),
    "the prompts only": ("render_prompts",),
    "up to the training": _TRAINING,
    "up to the scores": ("score_answers",),
}


def _commands(rules: set[str], files: Sequence[str], profile: str | None, mirror: str | None) -> Iterable[str]:
    yield "What to type next:"
    where = ["--profile", profile] if profile else ["--cores", "all"]
    configured = ["--configfile", *files] if files else []
    whole = shlex.join([".venv/bin/snakemake", *where, *configured])
    if mirror:
        whole = f"MEDRLVR_MIRROR={shlex.quote(mirror)} {whole}"
    shown = {"all of it": whole}
    for stage, last in _STAGES.items():
        until = [rule for rule in last if rule in rules]
        if until:
            shown[stage] = f"{whole} --until {' '.join(until)}"
    shown["how far it is"] = "make status" + (f" CONFIG={shlex.quote(' '.join(files))}" if files else "")
    width = max(map(len, shown))
    for what, command in shown.items():
        yield f"  {what.ljust(width)}  {command}"


def _two(number: float) -> str:
    """Two digits, as an estimate deserves."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def _range(low: float, high: float) -> str:
    return _two(low) if _two(low) == _two(high) else f"{_two(low)} to {_two(high)}"


def _span(low: float, high: float) -> str:
    if low == high:
        return duration(low)
    unit, name = next(((size, name) for size, name in ((3600, "h"), (60, "min")) if high >= 2 * size), (1, "s"))
    return f"{_range(low / unit, high / unit)} {name}"
