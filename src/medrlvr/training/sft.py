"""Supervised fine-tuning on the answer letter (paper, section 3.3), by OpenRLHF's `train_sft`."""

import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from medrlvr import environment, launch, memory
from medrlvr.config import Machine, SftArm
from medrlvr.files import write_json_lines, write_parquet
from medrlvr.models import check_folder, check_lengths
from medrlvr.progress import Progress
from medrlvr.training import checks, preparation
from medrlvr.training.metrics import read_events
from medrlvr.training.openrlhf import NOWHERE, Paths, sft_arguments

_BAR = re.compile(r"Train step of epoch (\d+):.*?(\d+)/(\d+) \[.*gpt_loss=([^,\]]+)")


def train_sft(
    arm: SftArm,
    learning_rate: float,
    machine: Machine,
    seed: int,
    *,
    stage: str,
    base: Path,
    prompts: Path,
    model: Path,
    metrics_table: Path,
    events: Path,
    state: Path,
    say: Callable[[str], None],
) -> None:
    """Fine-tune `base` on question and letter, and write model and metrics; a stopped run is gone on with.

    Args:
        learning_rate: one of the arm's.
        stage: what the run is called to the person who waits.
        base: folder of the base model, safetensors and tokenizer.
        prompts: JSON lines with `input` and `output`.
        model: folder to be made.
        metrics_table: parquet to be made, as `metrics.read_events` describes it.
        events: folder to be made, of TensorBoard event files.
        state: folder of all runs' states; this run's is named after what decides its result.
        say: prints a line for the person who waits.

    Raises:
        UserError: bad input, too little GPU memory, a failed, diverged or interrupted run.
    """
    check_folder(base)
    if machine.device == "gpu":
        say(f"{stage}: {memory.check_training(stage, base, arm, machine)}")
        say(f"{stage}: {environment.check_attention(machine)}")
    end = preparation.end_of_text(base)
    rows = preparation.read_rows(prompts, ("input", "output"))
    texts = [row["input"] + row["output"] + end for row in rows]
    check_lengths(base, texts, arm.max_tokens, "max_tokens", prompts)
    rows = preparation.fill_steps(rows, arm.batch_size)
    per_epoch = len(rows) // arm.batch_size
    deciding = sft_arguments(
        arm, learning_rate, preparation.checkpoint_layout(machine), seed, NOWHERE, save_every=per_epoch
    )
    folder = preparation.state_folder(state, "sft", deciding, [base, prompts])
    paths = Paths.inside(folder, base)
    # Where the end-of-text token is missing OpenRLHF would put a space and that token behind the letter.
    write_json_lines(paths.data, [{"input": row["input"], "output": row["output"] + end} for row in rows])
    # What a start that was killed compiled halfway would be waited for.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    variables = {**environment.variables(machine, folder / "cache"), **environment.sft_variables(machine)}
    command = [
        *environment.sft_launcher(machine),
        *sft_arguments(arm, learning_rate, machine, seed, paths, save_every=per_epoch),
    ]
    launch.write_command(folder / "command.sh", command, variables)
    say(f"{stage}: {arm.epochs} epochs of {per_epoch} updates; the command is in {folder / 'command.sh'}")
    launch.run(command, variables, _reporter(stage, arm.epochs, say))
    table = read_events(paths.metrics)
    checks.check_finite(table, folder)
    write_parquet(metrics_table, table)
    preparation.hand_over_events(paths.metrics, events)
    preparation.keep_origin(folder, paths, paths.model, arm, learning_rate=learning_rate, seed=seed)
    preparation.hand_over(paths.model, model)
    shutil.rmtree(folder)


def _reporter(stage: str, epochs: int, say: Callable[[str], None], interval: float = 5.0) -> Callable[[str], None]:
    said, told, drawn = time.monotonic(), 0, ("", "")
    progress: Progress | None = None

    def each_line(line: str) -> None:
        nonlocal said, told, drawn, progress
        print(line, flush=True)
        match = _BAR.search(line)
        if match is None:
            return
        epoch, batch, batches, loss = match.groups()
        # A step is drawn first with the loss of the step before, then with its own; an epoch's last once more.
        before, drawn = drawn, (epoch, batch)
        done = int(epoch) * int(batches) + int(batch)
        if drawn == before and done != told and (batch == batches or time.monotonic() - said > interval):
            progress = progress or Progress(stage, epochs * int(batches), unit="batch")
            said, told = time.monotonic(), done
            say(progress.line(done, f"epoch {int(epoch) + 1} of {epochs}, loss {loss}"))

    return each_line
