"""Supervised fine-tuning on the answer letter (paper, section 3.3), by OpenRLHF's `train_sft`.

The input is the direct prompt; the target is the gold letter and the end-of-text token. Only the target has a loss.

Command: `launchers.sft_launcher` (torchrun for several GPUs) with the options of `openrlhf.sft_arguments`, saved as
command.sh. An interrupted run resumes from its last checkpoint, one per epoch.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config.arms import SftArm
from medrlvr.config.machine import Machine
from medrlvr.models.folder import check_folder
from medrlvr.models.tokens import check_lengths
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.files import write_json_lines, write_parquet
from medrlvr.runtime.processes import run_process, write_command
from medrlvr.runtime.step_log import Notify
from medrlvr.training import health
from medrlvr.training.inputs import Row, end_of_text, fill_steps, read_training_rows
from medrlvr.training.launchers import check_attention, sft_launcher, sft_variables
from medrlvr.training.memory.fit import check_training
from medrlvr.training.openrlhf import NOWHERE, Paths, sft_arguments
from medrlvr.training.publish import publish_events, publish_model, save_recipe
from medrlvr.training.run_state import checkpoint_layout, state_folder
from medrlvr.training.trainer_metrics import read_events
from medrlvr.training.trainer_watch import SftWatch


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
    """A run's state folder, its paths, and the number of optimiser steps per epoch."""

    folder: Path
    paths: Paths
    steps: int


def train_sft(run: SftRun, notify: Notify) -> None:
    """Fine-tune the base model on questions and answer letters, or resume the run from its last checkpoint.

    Args:
        run: settings, inputs and outputs.
        notify: prints a progress line.

    Raises:
        UserError: bad input, too little GPU memory, or a run that failed, diverged or was interrupted.
    """
    rows = _check(run, notify)
    prepared = _prepare(run, rows)
    _run(run, prepared, notify)
    _publish(run, prepared)


def _check(run: SftRun, notify: Notify) -> list[Row]:
    """Return the training rows, after all checks that need no trainer."""
    check_folder(run.base)
    if run.machine.device == "gpu":
        notify(f"{run.display_name}: {check_training(run.display_name, run.base, run.arm, run.machine)}")
        notify(f"{run.display_name}: {check_attention(run.machine)}")
    end = end_of_text(run.base)
    # If the end-of-text token is missing, OpenRLHF adds a space and that token after the letter.
    rows = [
        {"input": row["input"], "output": row["output"] + end}
        for row in read_training_rows(run.prompts, ("input", "output"))
    ]
    texts = [row["input"] + row["output"] for row in rows]
    check_lengths(run.base, texts, run.arm.max_tokens, "max_tokens", run.prompts)
    return fill_steps(rows, run.arm.batch_size)


def _prepare(run: SftRun, rows: list[Row]) -> _Prepared:
    """Write the trainer's input into the run's state folder."""
    steps = len(rows) // run.arm.batch_size
    layout = checkpoint_layout(run.machine)
    arguments = sft_arguments(run.arm, run.learning_rate, layout, run.seed, NOWHERE, save_every=steps)
    folder = state_folder(run.state, "sft", arguments, [run.base, run.prompts])
    paths = Paths.inside(folder, run.base)
    write_json_lines(paths.data, rows)
    # An attempt that was killed during compilation leaves a lock that the next attempt would wait for.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    return _Prepared(folder, paths, steps)


def _run(run: SftRun, prepared: _Prepared, notify: Notify) -> None:
    """Run OpenRLHF to its end."""
    machine, script = run.machine, prepared.folder / "command.sh"
    variables = {
        **process_environment(machine.device, machine.threads, prepared.folder / "cache"),
        **sft_variables(machine),
    }
    command = [
        *sft_launcher(machine),
        *sft_arguments(run.arm, run.learning_rate, machine, run.seed, prepared.paths, save_every=prepared.steps),
    ]
    write_command(script, command, variables)
    notify(f"{run.display_name}: {run.arm.epochs} epochs of {prepared.steps} updates; the command is in {script}")
    run_process(command, variables, SftWatch(run.display_name, run.arm.epochs, notify))


def _publish(run: SftRun, prepared: _Prepared) -> None:
    """Check the metrics, write all outputs, then delete the state folder."""
    metrics = read_events(prepared.paths.metrics)
    health.check_finite(metrics, prepared.folder)
    write_parquet(run.metrics_table, metrics)
    publish_events(prepared.paths.metrics, run.events)
    model = prepared.paths.model
    save_recipe(prepared.folder, prepared.paths, model, run.arm, learning_rate=run.learning_rate, seed=run.seed)
    publish_model(model, run.model)
    shutil.rmtree(prepared.folder)
