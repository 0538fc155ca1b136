"""Supervised fine-tuning on the answer alone (paper, section 3.3), by OpenRLHF's `train_sft`.

The input is the direct prompt; the target is the correct answer and the end-of-text token. Only the target has a loss.

Command: `launchers.sft_launcher` (torchrun for several GPUs) with the options of `openrlhf.sft_arguments`, saved as
command.sh. An interrupted run resumes from its last checkpoint, one per epoch.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config.arms import SftArm
from medrlvr.config.machine import Machine
from medrlvr.models.folder import check_folder
from medrlvr.models.tokens import check_lengths
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.files import write_json_lines, write_parquet
from medrlvr.runtime.gpu_preflight import check_job
from medrlvr.runtime.hold import hold
from medrlvr.runtime.memory_watch import MemoryWatch
from medrlvr.runtime.processes import run_process, write_command
from medrlvr.runtime.step_log import Notify
from medrlvr.training import health
from medrlvr.training.compiled import compile_optimiser
from medrlvr.training.disk import check_disk, sft_disk_needed, weights_in
from medrlvr.training.inputs import Row, end_of_text, fill_steps, read_training_rows
from medrlvr.training.launchers import check_attention, sft_launcher, sft_variables
from medrlvr.training.memory.fit import check_training
from medrlvr.training.openrlhf import NOWHERE, Paths, sft_arguments
from medrlvr.training.publish import publish_events, publish_model, save_recipe
from medrlvr.training.resume.checkpoints import SINGLE, complete_updates, delete_trainer_states, restore
from medrlvr.training.run_state import (
    LOCK,
    PATIENCE,
    checkpoint_layout,
    is_finished,
    mark_finished,
    run_facts,
    state_folder,
)
from medrlvr.training.trainer_metrics import event_times, read_events, set_events_aside
from medrlvr.training.trainer_watch import SftWatch
from medrlvr.training.walltime import WalltimeGuard, requeued_when_out_of_time

_STEP = 60.0
"""Seconds that are assumed for a step when the end of a job's time is near; SFT prints no time of a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SftRun:
    """One run: settings, inputs and outputs.

    Attributes:
        arm, machine, seed: settings.
        learning_rate: one of the arm's learning rates.
        display_name: the run's name in progress lines.
        base: folder of the base model, safetensors and tokenizer.
        prompts: JSON lines with `input` and `output`.
        model: output folder.
        metrics_table: output parquet, as `read_events` returns it.
        events: output folder of TensorBoard event files.
        state: folder of all runs' states; a hash of everything that determines this run's result names its folder.
    """

    arm: SftArm
    machine: Machine
    seed: int
    learning_rate: float
    display_name: str
    base: Path
    prompts: Path
    model: Path
    metrics_table: Path
    events: Path
    state: Path


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A run's state folder, its paths, the number of optimiser steps per epoch, and the number of steps done."""

    folder: Path
    paths: Paths
    steps: int
    done: int


def train_sft(run: SftRun, notify: Notify) -> None:
    """Fine-tune the base model on questions and answer letters, or resume the run from its last checkpoint.

    Args:
        run: settings, inputs and outputs.
        notify: prints a progress line.

    Raises:
        UserError: bad input, too little GPU memory, or a run that failed, diverged or was interrupted.
    """
    rows = _check(run, notify)
    steps = len(rows) // run.arm.batch_size
    folder = _state(run, steps, notify)
    with hold(folder / LOCK, run.display_name, PATIENCE):
        if is_finished(folder):
            notify(f"{run.display_name}: all epochs are trained; writing the results again")
            prepared = _Prepared(folder, Paths.inside(folder, run.base), steps, run.arm.epochs * steps)
        else:
            prepared = _prepare(run, rows, folder, notify)
            with requeued_when_out_of_time(notify):
                _run(run, prepared, notify)
        _publish(run, prepared)


def _check(run: SftRun, notify: Notify) -> list[Row]:
    """Return the training rows, after all checks that need no trainer."""
    check_folder(run.base)
    if run.machine.device == "gpu":
        notify(f"{run.display_name}: {check_training(run.display_name, run.base, run.arm, run.machine)}")
        notify(f"{run.display_name}: {check_attention(run.machine)}")
        check_job(run.display_name, run.machine.gpus_per_node, run.machine.gpu_gib, compiles=True, notify=notify)
    end = end_of_text(run.base)
    # If the end-of-text token is missing, OpenRLHF adds a space and that token after the letter.
    rows = [
        {"input": row["input"], "output": row["output"] + end}
        for row in read_training_rows(run.prompts, ("input", "output"))
    ]
    texts = [row["input"] + row["output"] for row in rows]
    check_lengths(run.base, texts, run.arm.max_tokens, "max_tokens", run.prompts)
    return fill_steps(rows, run.arm.batch_size)


def _state(run: SftRun, steps: int, notify: Notify) -> Path:
    """Return the run's state folder."""
    folder, changed = state_folder(
        run.state,
        "sft",
        run.display_name,
        sft_arguments(run.arm, run.learning_rate, checkpoint_layout(run.machine), run.seed, NOWHERE, save_every=steps),
        run_facts(run.arm, run.machine, seed=run.seed, learning_rate=run.learning_rate),
        {"content of the base model": run.base, "content of the prompts": run.prompts},
    )
    if changed:
        notify(changed)
    return folder


def _prepare(run: SftRun, rows: list[Row], folder: Path, notify: Notify) -> _Prepared:
    """Write the trainer's input into the run's state folder, and find the checkpoint to resume from."""
    steps = len(rows) // run.arm.batch_size
    paths = Paths.inside(folder, run.base)
    disk = check_disk(sft_disk_needed(weights_in(run.base), run.arm, run.machine), folder)
    notify(f"{run.display_name}: {disk}")
    restored = restore(paths.checkpoints, [SINGLE])
    for sentence in restored.damaged:
        notify(f"{run.display_name}: {sentence}")
    write_json_lines(paths.data, rows)
    set_events_aside(paths.metrics)
    # A killed attempt may leave a half-written cache of the prompts.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return _Prepared(folder, paths, steps, restored.update)


def _run(run: SftRun, prepared: _Prepared, notify: Notify) -> None:
    """Run OpenRLHF to its end."""
    machine, script = run.machine, prepared.folder / "command.sh"
    variables = {
        **process_environment(machine.device, machine.sft_threads or machine.threads, prepared.folder / "cache"),
        **sft_variables(machine),
    }
    command = [
        *sft_launcher(machine),
        *sft_arguments(run.arm, run.learning_rate, machine, run.seed, prepared.paths, save_every=prepared.steps),
    ]
    write_command(script, command, variables)
    compile_optimiser(machine, variables, notify)
    notify(f"{run.display_name}: {run.arm.epochs} epochs of {prepared.steps} updates; the command is in {script}")
    checkpoints = prepared.paths.checkpoints
    watchers: list[Callable[[], None]] = [
        MemoryWatch(run.display_name, notify),
        WalltimeGuard(
            run.display_name,
            notify,
            None,
            prepared.done,
            last_saved=lambda: max(complete_updates(checkpoints, [SINGLE]), default=0),
            longest_update=lambda: _STEP,
        ),
    ]
    watch = SftWatch(run.display_name, run.arm.epochs, prepared.folder, notify)
    run_process(command, variables, watch, watchers=watchers)


def _publish(run: SftRun, prepared: _Prepared) -> None:
    """Check the metrics, write all outputs, then delete the trainer's states."""
    metrics = read_events(prepared.paths.metrics)
    health.check_finite(metrics, prepared.folder)
    mark_finished(prepared.folder, run.model)
    write_parquet(run.metrics_table, metrics)
    publish_events(metrics, event_times(prepared.paths.metrics), run.events)
    model = prepared.paths.model
    save_recipe(prepared.folder, prepared.paths, model, run.arm, learning_rate=run.learning_rate, seed=run.seed)
    publish_model(model, run.model)
    delete_trainer_states(prepared.paths.checkpoints, [SINGLE])
