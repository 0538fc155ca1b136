"""The plan as text: what a run would do, before anything starts.

The time of a step that has run before is measured: its benchmark table contains it. The time of other GPU steps is
estimated from tokens, parameters and an assumed throughput, as a range.
"""

import math
import os
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.data.registry import load_registry
from medrlvr.pipeline.plan.facts import Facts, absent_files, gather_facts
from medrlvr.pipeline.plan.jobs import FOLLOWS, TRAINING_RULES, Job, cause, gpus_of, longest_chain
from medrlvr.pipeline.plan.space import peak_space, space
from medrlvr.pipeline.plan.times import SHORT_RESPONSE_TOKENS, UNCERTAINTY_FACTOR, Time, times
from medrlvr.pipeline.plan.work import GENERATION_MFU, PEAK_FLOPS, PROMPT_TOKENS, TRAINING_MFU
from medrlvr.pipeline.preflight import check_device
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.progress import duration
from medrlvr.training.disk import gigabytes

REGISTRY = "config/datasets.tsv"


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
        first = next((words for words in why if words != FOLLOWS), FOLLOWS)
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
            f" GPUs of {PEAK_FLOPS / 1e12:.0f} TFLOP/s in bfloat16 (an A100's peak; newer kinds do more), of which"
            f" training reaches {TRAINING_MFU:.0%} and generation {GENERATION_MFU:.0%}, or {UNCERTAINTY_FACTOR} times"
            f" less or more; prompts of {PROMPT_TOKENS} tokens; responses of {SHORT_RESPONSE_TOKENS} (the paper's, by"
            " their characters) up to the longest allowed. A run that was stopped goes on, and takes less than is said"
            " here."
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
    "the prompts only": ("render_training_prompts",),
    "up to the training": TRAINING_RULES,
    "up to the scores": ("score_answers",),
}


def _commands(rules: set[str], files: Sequence[str], profile: str | None, mirror: str | None) -> Iterable[str]:
    yield "What to type next:"
    whole = shlex.join(["medrlvr", "run", *files, *(["--profile", profile] if profile else [])])
    if mirror:
        whole = f"MEDRLVR_MIRROR={shlex.quote(mirror)} {whole}"
    shown = {"all of it": whole}
    for stage, last in _STAGES.items():
        until = [rule for rule in last if rule in rules]
        if until:
            shown[stage] = f"{whole} --until {' '.join(until)}"
    shown["its progress"] = shlex.join(["medrlvr", "status", *files])
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
