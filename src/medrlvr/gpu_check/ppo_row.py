"""Two updates of PPO at the size of the paper's model: memory of each phase, speed, and the number format."""

import json
import random
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import yaml

from medrlvr.config.arms import RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.gpu_check.answers_row import random_model, random_text
from medrlvr.gpu_check.card import GIB, Card, MemoryRecord
from medrlvr.gpu_check.programs import run_program
from medrlvr.gpu_check.rows import Figure, Measured, NotApplicableError
from medrlvr.models.shape import Shape
from medrlvr.pipeline.plan.work import rlvr_work, run_update_sizes
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.files import read_parquet, write_json_lines
from medrlvr.runtime.step_log import Notify
from medrlvr.training.memory.fit import fits
from medrlvr.training.memory.host import job_memory
from medrlvr.training.memory.phases import phases
from medrlvr.training.phase_watch import ACTOR, CRITIC, GENERATION, SCORING, WEIGHTS, read_phases
from medrlvr.training.rlvr import RlvrRun, train_rlvr

UPDATES = 2

MEMORY_TOLERANCE = 0.15
"""Largest difference of a phase's measured memory from the planner's, as a fraction of the planner's."""

LOG_PROBABILITY_ERROR = 3e-2
"""Largest mean error of a token's log-probability in bfloat16, in nats."""


@dataclass(frozen=True, slots=True)
class PpoPlan:
    """What is trained.

    Attributes:
        shape_name, shape: the model.
        machine: the settings of the machine.
        source: the preset's name, or another name of these settings.
        arm: the arm, whose prompts and responses all have the maximum length.
    """

    shape_name: str
    shape: Shape
    machine: Machine
    source: str
    arm: RlvrArm


def read_presets(files: Iterable[Path | str]) -> dict[str, Machine]:
    """Return name -> settings of the machine, for presets as overlays of config.yaml."""
    found = {}
    for file in map(Path, files):
        overlay = yaml.safe_load(file.read_text(encoding="utf-8"))["machine"]
        found[file.stem] = Machine.model_validate(Machine().model_dump() | overlay)
    return found


def plan_ppo(
    card: Card, presets: Mapping[str, Machine], shapes: Mapping[str, Shape], arm: RlvrArm, host_bytes: float
) -> PpoPlan:
    """Return the preset for one GPU of this size, and the largest shape that fits it and the host's memory.

    Args:
        presets: name -> settings of a machine.
        shapes: name -> shape, the preferred one first.
        arm: the arm to train.
        host_bytes: memory of this machine.

    Raises:
        NotApplicableError: no preset is for one GPU of this size, or no shape fits.
    """
    single = {name: preset for name, preset in presets.items() if preset.gpus_per_node * preset.nodes == 1}
    possible = {name: preset for name, preset in single.items() if preset.gpu_gib <= card.gib}
    if not possible:
        sizes = ", ".join(f"{name} ({preset.gpu_gib:g} GiB)" for name, preset in single.items())
        raise NotApplicableError(
            f"no preset of config/presets is for one GPU of {card.gib:.0f} GiB; there are {sizes}."
        )
    source = max(possible, key=lambda name: possible[name].gpu_gib)
    machine = possible[source]
    for name, shape in shapes.items():
        if fits(shape, arm, machine) and job_memory(shape, arm, machine) * 2**20 <= host_bytes:
            return PpoPlan(name, shape, machine, source, arm)
    raise NotApplicableError(
        f"no shape fits: the preset {source} with {', '.join(shapes)} and {host_bytes / GIB:.0f} GiB of host memory."
    )


def measure_ppo(plan: PpoPlan, peak_tflops: float | None, folder: Path, notify: Notify) -> Measured:
    """Train two updates, and compare memory and speed with what is expected.

    Args:
        peak_tflops: TFLOP/s of a matrix product on this GPU, measured; None if unknown.
        folder: folder with the random models; receives the run.

    Returns:
        The figures; and the numbers training_seconds (of an update without its generation) and training_tflops.

    Raises:
        UserError: the training failed.
    """
    model = random_model(plan.shape_name, plan.shape, plan.machine, folder)
    own = folder / f"ppo-{plan.source}"
    shutil.rmtree(own, ignore_errors=True)
    run = _run(plan, model, own)
    with MemoryRecord(plan.machine) as memory:
        train_rlvr(run, notify)
    assert run.phases is not None
    records, metrics = read_phases(run.phases), read_parquet(run.metrics_table)
    last = metrics.iloc[-1]
    responses = plan.arm.prompts_per_update * plan.arm.samples_per_prompt
    tokens = responses * (plan.arm.prompt_max_tokens + float(last["response_length"]))
    training = float(last["timing/make_experience"] + last["timing/ppo_train"] + last["timing/broadcast"])
    figures = [
        Figure("what was trained", f"{plan.shape_name}, random weights, {plan.source}"),
        _recorded_phases(records, plan),
        *compare_memory(memory.peaks(records), plan),
        *_speeds(last, plan, tokens, training, peak_tflops),
    ]
    shutil.rmtree(run.models)
    shutil.rmtree(run.state)
    tflops = training_operations(plan) * tokens / training / 1e12
    return Measured(figures, {"training_seconds": training, "training_tflops": tflops})


def _run(plan: PpoPlan, model: Path, folder: Path) -> RlvrRun:
    """Write prompts of the maximum length, and return the run."""
    folder.mkdir(parents=True)
    source = random.Random(1)
    rows = [
        {
            "input": random_text(plan.arm.prompt_max_tokens, source),
            "label": json.dumps({"question_id": f"random-{number}", "options": ["a", "b", "c", "d"], "gold": 0}),
        }
        for number in range(plan.arm.prompts_per_update * UPDATES)
    ]
    write_json_lines(folder / "prompts.jsonl", rows)
    return RlvrRun.inside(
        folder,
        arm=plan.arm,
        machine=plan.machine,
        seed=1,
        name="gpu_check-ppo",
        display_name=f"PPO, {plan.shape_name}, {plan.source}",
        base=model,
        prompts=folder / "prompts.jsonl",
        phases=folder / "phases.jsonl",
    )


def _recorded_phases(records: pd.DataFrame, plan: PpoPlan) -> Figure:
    expected = {GENERATION, SCORING, ACTOR, WEIGHTS} | ({CRITIC} if plan.arm.has_critic else set())
    found = records.groupby("phase")["start"].count()
    each = ", ".join(f"{phase} {found[phase]}" for phase in found.index)
    return Figure("phases that were recorded, and how often", each, "every phase", set(found.index) == expected)


def compare_memory(measured: Mapping[str, int], plan: PpoPlan) -> list[Figure]:
    """Compare the measured peak memory of each phase with the planner's.

    Args:
        measured: phase of `phase_watch` -> bytes.
    """
    planned = phases(plan.shape, plan.arm, plan.machine)
    figures = []
    for phase, used in measured.items():
        largest = max((one.total for one in planned if one.name.split(",")[0] == phase), default=None)
        if largest is None:
            continue
        ratio = used / largest
        figures.append(
            Figure(
                f"peak memory, {phase}",
                f"{used / GIB:.1f} GiB",
                f"{largest / GIB:.1f} GiB planned, within {MEMORY_TOLERANCE:.0%}; {ratio:.2f} of it",
                abs(ratio - 1) <= MEMORY_TOLERANCE,
            )
        )
    return figures


def _speeds(last: pd.Series, plan: PpoPlan, tokens: float, training: float, peak_tflops: float | None) -> list[Figure]:
    """Return the speeds of the last update: the first one contains compilation and warm-up."""
    responses = plan.arm.prompts_per_update * plan.arm.samples_per_prompt
    generated = responses * float(last["response_length"])
    operations = training_operations(plan) * tokens
    share = f", {operations / training / 1e12 / peak_tflops:.0%} of the measured peak" if peak_tflops else ""
    figures = [
        Figure("generated tokens per second", f"{generated / last['timing/generation']:,.0f}, {responses} at once"),
        Figure("trained tokens per second (scored, then trained)", f"{tokens / training:,.0f}"),
        Figure("training", f"{operations / training / 1e12:.0f} TFLOP/s{share}"),
    ]
    parts = [name for name in last.index if name.startswith("timing/")]
    return figures + [Figure(f"seconds: {name.removeprefix('timing/')}", f"{last[name]:.1f}") for name in parts]


def training_operations(plan: PpoPlan) -> float:
    """Return the floating-point operations per token of scoring and training, as `medrlvr plan` counts them."""
    questions = UPDATES * plan.arm.prompts_per_update
    work = rlvr_work(plan.arm, plan.machine.gradient_checkpointing, plan.shape.parameters, questions, 1, 0)
    return work.training / (sum(run_update_sizes(plan.arm, questions)) * plan.arm.samples_per_prompt)


def measure_precision(plan: PpoPlan, folder: Path) -> list[Figure]:
    """Compare bfloat16 with float32 on one batch: two sequences of half the maximum length.

    Raises:
        UserError: the program failed.
    """
    model = random_model(plan.shape_name, plan.shape, plan.machine, folder)
    variables = process_environment(plan.machine.device, plan.machine.threads, folder / "cache")
    found = run_program("precision", folder, variables, str(model), "2", str(plan.arm.response_max_tokens // 2))
    return [
        Figure("bfloat16 against float32: relative error of the logits", f"{found['relative_error']:.1e}"),
        Figure(
            "bfloat16 against float32: mean error of a token's log-probability",
            f"{found['difference']:.1e} nats",
            f"at most {LOG_PROBABILITY_ERROR:g}",
            found["difference"] <= LOG_PROBABILITY_ERROR,
        ),
    ]
