"""The plan of a run as text, before anything starts.

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
from medrlvr.pipeline.plan.memory import memory_rows
from medrlvr.pipeline.plan.space import peak_space, space
from medrlvr.pipeline.plan.times import (
    MEASURED_UNCERTAINTY,
    SHORT_RESPONSE_TOKENS,
    UNCERTAINTY_FACTOR,
    Time,
    has_measured_rates,
    times,
)
from medrlvr.pipeline.plan.work import GENERATION_MFU, PEAK_FLOPS, PROMPT_TOKENS, TRAINING_MFU
from medrlvr.pipeline.preflight import check_device
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.progress import duration
from medrlvr.training.disk import gigabytes

REGISTRY = "config/datasets.tsv"


def plan(experiment: Experiment, jobs: Sequence[Job], overlays: Sequence[str], profile: str | None) -> str:
    """Return the plan as text, with checks of this machine and its environment.

    Args:
        experiment: the settings.
        jobs: all jobs of the graph, as `jobs_of` returns them.
        overlays: files, as the user named them.
        profile: Snakemake's profile; None for this machine.
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
    """Return the plan as text.

    Args:
        jobs: all jobs of the graph, in an order in which they could run.
        experiment: the settings.
        facts: as `gather_facts` returns them.
        results: the experiment's folder.
        files: the overlays, as the user named them.
        profile: Snakemake's profile; None for this machine.
        absent: as `absent_files` returns it.
        device_problem: why this machine cannot run it; None if it can.
        mirror: value of MEDRLVR_MIRROR; None if it is not set.
    """
    overlays = " and ".join(files)
    head = f"{experiment.title}: {results}, from config/config.yaml{f' and {overlays}' if files else ''}"
    planned = [job for job in jobs if job.reason is not None]
    if not planned:
        page = results / "report.html"
        return f"{head}\n\nNothing to do: all {len(jobs)} jobs are done. The report: {page}\n"
    estimates = times(jobs, experiment, facts, results)
    pairs = [(job, estimate) for job, estimate in zip(jobs, estimates, strict=True) if job.reason is not None]
    lines = [
        head,
        "This is only a plan: no job was started, and no file was written.",
        "",
        *_table(jobs, estimates, experiment, facts, profile is not None),
        "",
    ]
    lines += [*_whole(pairs, experiment, facts, side_by_side=profile is not None), ""]
    if experiment.machine.device == "gpu" and facts.shape is not None:
        head_row = ("GPU memory of each phase (estimated)", "GiB", f"of {experiment.machine.gpu_gib:g}")
        lines += [*_aligned([head_row, *memory_rows(experiment, facts.shape)]), ""]
    for basis in _bases({estimate.basis for _, estimate in pairs if estimate}, experiment.machine, facts):
        lines += textwrap.wrap(basis, 110, subsequent_indent="  ", break_on_hyphens=False)
    lines.append("")
    if absent:
        lines += ["Files that do not exist:", *(f"  {file}" for file in absent), ""]
    late = _late(pairs)
    if late:
        lines += ["The profile's time limit may stop:", *(f"  {line}" for line in late), ""]
    if device_problem is not None and profile is None:
        lines += [
            "This machine cannot run it:",
            *(f"  {line}" for line in device_problem.splitlines()),
            "",
        ]
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
                _span(low, high) if run and whole else "unknown" if run else "",
                gigabytes(peak_space(counted, side_by_side)) if counted else "",
                ", ".join(sorted({estimate.basis for estimate in known})) if whole else "",
                first if run else "",
            )
        )
    yield from _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _whole(
    pairs: Sequence[tuple[Job, Time | None]], experiment: Experiment, facts: Facts, side_by_side: bool
) -> Iterable[str]:
    known = [estimate for _, estimate in pairs if estimate is not None]
    unknown = len(pairs) - len(known)
    but = f", plus {unknown} of {len(pairs)} jobs with unknown times" if unknown else ""
    low, high = (sum(getattr(estimate, end) for estimate in known) for end in ("low", "high"))
    yield f"One job after another: {_span(low, high)}{but}" if known else "The total time is unknown."
    if side_by_side and known:
        jobs = [job for job, _ in pairs]
        ends = [
            longest_chain(jobs, [getattr(estimate, end) if estimate else 0 for _, estimate in pairs])
            for end in ("low", "high")
        ]
        yield f"In parallel, without queueing time: {_span(ends[0][0], ends[1][0])}{but}"
        yield f"  Longest chain: {', '.join(dict.fromkeys(ends[1][1]))}"
    if experiment.machine.device == "gpu" and known:
        held = [math.prod(gpus_of(job.rule, experiment.machine)) / 3600 for job, _ in pairs]
        hours = [
            sum(gpus * getattr(estimate, end) for gpus, (_, estimate) in zip(held, pairs, strict=True) if estimate)
            for end in ("low", "high")
        ]
        yield f"GPU-hours: {_range(*hours)}"
    counted = [size for job, _ in pairs if (size := space(job, experiment, facts)) is not None]
    if facts.weights is None:
        yield f"Disk: unknown until the base model is fetched; {gigabytes(facts.free)} free"
    elif counted:
        peak = peak_space(counted, side_by_side)
        enough = "" if peak <= facts.free else ". NOT ENOUGH: raise save_every, or move results/ to a larger disk"
        manner = "all runs in parallel" if side_by_side else "one run after another"
        yield (
            f"Peak disk, {manner}: {gigabytes(peak)}, of which {gigabytes(sum(one.left for one in counted))} remain;"
            f" {gigabytes(facts.free)} free{enough}"
        )


def _bases(bases: set[str], machine: Machine, facts: Facts) -> Iterable[str]:
    if any(basis.startswith("measured") for basis in bases):
        yield "measured: the time of the job's last run, or of jobs of the same rule, with the settings of that run."
    if "estimated" in bases and facts.weights is not None:
        again = ", and 2 to recompute activations" if machine.gradient_checkpointing else ""
        yield (
            f"estimated: from {facts.weights.parameters:,} parameters, with 2 operations per parameter and token for"
            f" the forward pass, 4 for the backward pass{again}. Attention, engine starts, saving and offload are not"
            f" counted. {_assumptions(machine)} A run that was interrupted resumes and needs less time than shown here."
        )
    if not bases:
        yield "The time of a step is known after it has run here. Before that, only the time of GPU steps is estimated."
    yield (
        "disk: models, trainer states and all responses. Tables, answers and the report need little. The cache of"
        " huggingface_hub, with another copy of a downloaded base model, is elsewhere and not counted."
    )
    yield "cached: the output exists, and neither settings nor inputs have changed since."


def _assumptions(machine: Machine) -> str:
    if has_measured_rates(machine):
        return (
            f"Measured on this machine (machine.training_tflops, machine.generation_tflops):"
            f" {machine.training_tflops:g} TFLOP/s of a GPU in scoring and training, {machine.generation_tflops:g} in"
            f" generation. ASSUMED: the time is within {MEASURED_UNCERTAINTY:.0%}; prompts of {PROMPT_TOKENS} tokens;"
            f" responses of {SHORT_RESPONSE_TOKENS} tokens (from the paper's lengths in characters). Longer responses"
            " need more time in proportion."
        )
    return (
        f"ASSUMED: GPUs with {PEAK_FLOPS / 1e12:.0f} TFLOP/s in bfloat16 (an A100's peak; newer GPUs are faster), of"
        f" which training reaches {TRAINING_MFU:.0%} and generation {GENERATION_MFU:.0%}, or {UNCERTAINTY_FACTOR} times"
        f" less or more; prompts of {PROMPT_TOKENS} tokens; responses of {SHORT_RESPONSE_TOKENS} tokens (from the"
        " paper's lengths in characters) up to the longest allowed. `make gpu-check` measures the rates of your GPU."
    )


def _late(pairs: Iterable[tuple[Job, Time | None]]) -> list[str]:
    found = {}
    for job, estimate in pairs:
        if estimate is not None and job.limit is not None and estimate.high > job.limit:
            found[job.rule] = (
                f"{job.rule}, which may need {_span(estimate.low, estimate.high)}; its limit is"
                f" {duration(job.limit)} (runtime under set-resources)"
            )
    return [*found.values()]


_STAGES = {
    "the data only": ("split_questions", "write_data_card"),
    "the prompts only": ("render_training_prompts",),
    "up to the training": TRAINING_RULES,
    "up to the scores": ("score_answers",),
}


def _commands(rules: set[str], files: Sequence[str], profile: str | None, mirror: str | None) -> Iterable[str]:
    yield "Next commands:"
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
    """Format a number with two significant digits, the precision of an estimate."""
    rounded = float(f"{number:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def _range(low: float, high: float) -> str:
    return _two(low) if _two(low) == _two(high) else f"{_two(low)} to {_two(high)}"


def _span(low: float, high: float) -> str:
    if low == high:
        return duration(low)
    unit, name = next(((size, name) for size, name in ((3600, "h"), (60, "min")) if high >= 2 * size), (1, "s"))
    return f"{_range(low / unit, high / unit)} {name}"
