"""The parts around a training process: preparation, progress, metrics, checks, and the process's whole life."""

import inspect
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unicodedata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from medrlvr.config.arms import RlvrArm, update_sizes
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.dynamics.hack_monitor import WINDOW, response_features
from medrlvr.grading.grader import grade
from medrlvr.models.folder import check_folder, delete_weights, tensor_sizes
from medrlvr.models.shape import known_shape, read_shape
from medrlvr.models.tokens import as_decoded, check_lengths
from medrlvr.pipeline import preflight
from medrlvr.pipeline.preflight import check_nodes, check_packages, check_partitions
from medrlvr.runtime import environment, processes
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.processes import run_process, write_command
from medrlvr.runtime.progress import Progress
from medrlvr.training import disk, health, launchers, rlvr, trainer_metrics
from medrlvr.training.inputs import end_of_text, fill_steps, read_training_rows
from medrlvr.training.launchers import check_attention, ray_variables, rlvr_launcher, short_folder
from medrlvr.training.publish import publish_events, publish_model
from medrlvr.training.resume.checkpoints import Restored, part_folder, record_checkpoint
from medrlvr.training.run_state import checkpoint_layout
from medrlvr.training.trainer_watch import SftWatch

STARTUP = Path(launchers.__file__).with_name("startup")
PRINTED = (
    "\x1b[36m(PPOTrainer pid=1)\x1b[0m INFO 11-21 05:16:01 ppo_trainer.py:551] ✨ Global step 3: "
    "{'critic_loss': 0.5, 'vllm_kl': -3.7e-08, 'timing/step_total': 12.0, 'policy_loss': nan, 'kl': inf}"
)


def test_a_reported_update_is_read_under_the_trainers_own_names():
    row = trainer_metrics.parse_line(PRINTED)
    assert row.pop("policy_loss") != row.get("policy_loss")
    assert row == {"update": 3, "critic_loss": 0.5, "vllm_kl": -3.7e-08, "timing/step_total": 12.0, "kl": float("inf")}
    assert trainer_metrics.parse_line("Train epoch [1/1]: 100%") is None


def test_the_loss_of_an_epoch_is_printed_once_and_is_its_own(capsys):
    """The bar as OpenRLHF draws it: each step first with the previous step's loss, and an epoch's last step again."""
    said = []
    watch = SftWatch("sft", 2, Path("state"), said.append)
    bar = "Train step of epoch {}: 50%|## | {}/2 [00:01<00:01, 2.8it/s, gpt_loss={}, lr=0.0001, grad_norm=1]\x1b[A"
    for epoch, batch, loss in (
        (0, 1, 0.9),
        (0, 2, 0.9),
        (0, 2, 0.8),
        (0, 2, 0.8),
        (1, 1, 0.7),
        (1, 2, 0.7),
        (1, 2, 0.6),
    ):
        watch(bar.format(epoch, batch, loss))
    first, second = "sft: batch 2 of 4, epoch 1 of 2, loss 0.8", "sft: batch 4 of 4, epoch 2 of 2, loss 0.6"
    assert said == [first, f"{second}, about 0 s left"]
    assert capsys.readouterr().out.count("Train step") == 7
    with pytest.raises(
        UserError, match=r"^training diverged: gpt_loss is nan at batch 2 of epoch 2\. .*delete state\.$"
    ):
        watch(bar.format(1, 2, "nan"))


def test_metrics_come_from_print_and_events_and_the_last_attempt_wins(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for stamp, value in ((1, 0.1), (2, 0.2)):
        writer = SummaryWriter(tmp_path / "events" / "run", filename_suffix=str(stamp))
        for update in (2, 3):
            writer.add_scalar("train/kl", value, update)
        writer.close()
        time.sleep(1.1)
    rows = [{"update": 1, "kl": 0.5}, {"update": 2, "kl": 0.6}, {"update": 2, "kl": 0.7}]
    (tmp_path / "printed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = trainer_metrics.read_metrics(tmp_path / "printed.jsonl", tmp_path / "events")
    assert table["update"].tolist() == [1, 2, 3]
    assert table["kl"].tolist() == pytest.approx([0.5, 0.7, 0.2])


def test_the_last_attempts_metrics_win_after_the_clock_has_gone_backwards(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    trainer_metrics.set_events_aside(tmp_path / "none")
    for attempt, value in enumerate((0.1, 0.2, 0.3)):
        trainer_metrics.set_events_aside(tmp_path)
        with SummaryWriter(tmp_path / "run") as writer:
            writer.add_scalar("train/kl", value, 2)
        (file,) = (tmp_path / "run").iterdir()
        file.rename(file.with_name(f"events.out.tfevents.{9000 - attempt}.host.1.0"))
        assert trainer_metrics.read_events(tmp_path)["kl"].tolist() == pytest.approx([value])


def good(updates: int = 4) -> pd.DataFrame:
    """Metrics of a run with nothing wrong."""
    return pd.DataFrame({"update": range(1, updates + 1), "kl": 0.1, "vllm_kl": 1e-5, "response_length": 40.0})


def checked(table: pd.DataFrame, folder: Path) -> list[str | None]:
    """The warning for each update of a run, as the trainer reports one after another."""
    rows = table.to_dict("records")
    return [health.check_update(row, rows[0], len(rows), folder / "checkpoints") for row in rows]


def test_a_good_run_passes_all_checks(tmp_path):
    health.check_finite(good(), tmp_path)
    health.check_all(good(), 4, tmp_path)
    assert checked(good(), tmp_path) == [None] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_named(tmp_path, value):
    table = good()
    table.loc[2, "kl"] = value
    with pytest.raises(UserError, match=rf"kl is {value} at update 3.*delete {tmp_path}"):
        health.check_finite(table, tmp_path)


def test_an_update_that_is_not_planned_is_rejected(tmp_path):
    row = {"update": 8, "kl": 0.1, "vllm_kl": 1e-5}
    assert health.check_update(row, None, 8, tmp_path) is None
    with pytest.raises(UserError, match=r"the trainer started update 9 of a plan of 8, so training was stopped"):
        health.check_update(row | {"update": 9}, None, 8, tmp_path)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"kl": float("nan")}, "kl is nan"),
        ({"kl": 0.1, "policy_loss": float("-inf")}, "policy_loss is -inf"),
        ({"kl": 10.5}, "kl is 10.5"),
        ({"kl": -11.0}, "kl is -11"),
    ],
)
def test_diverged_training_stops_at_once_and_names_the_last_good_checkpoint(tmp_path, row, told):
    message = (
        rf"training diverged, so it was stopped: {told} at update 7\. There is no earlier checkpoint in {tmp_path}"
        r"\. The same command starts from scratch with other random numbers"
    )
    with pytest.raises(UserError, match=message):
        health.check_update({"update": 7, **row}, None, 8, tmp_path)
    for update in (2, 4, 8):
        folder = model_files(tmp_path / f"global_step{update}_hf")
        record_checkpoint(folder)
    with pytest.raises(UserError, match=r"after update 4 in .* command resumes from it with other"):
        health.check_update({"update": 7, **row}, None, 8, tmp_path)
    good_row = {"update": 3, "kl": 9.9}
    assert health.first_failure([good_row, {"update": 7, **row}, {"update": 8, **row}]) == 7
    assert health.first_failure([good_row, {"update": 4, "reward": -1.0}]) is None


def test_a_run_that_diverged_resumes_before_that_update(begin, tmp_path):
    lines = tuple(reported(update, "<think>x</think>", 0.1) for update in range(1, 4))
    begin(lines=(*lines, reported(4, "<think>x</think>", float("nan"))))
    (state,) = (tmp_path / "state").iterdir()
    save_checkpoints(state, 2, 4)
    assert any("resuming at update 3;" in line for line in begin())


def save_checkpoints(state: Path, *updates: int) -> None:
    """Write complete checkpoints and all responses up to the last one, as the trainer and the reward hook do."""
    for update in updates:
        for part in ("_actor", "_critic", "model"):
            folder = part_folder(state / "checkpoints", part, update)
            folder.mkdir(parents=True)
            (folder / "file").write_text(f"{update}")
            record_checkpoint(folder)
    rows = [{"update": update, "question_id": "q"} for update in range(1, updates[-1] + 1) for _ in range(8)]
    (state / "rollouts/attempt-001-from-000001/a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("lost", "start"), [("nothing", 5), ("responses", 3), ("metrics", 3), ("all metrics", 1), ("model", 1)]
)
def test_a_run_resumes_before_an_update_whose_results_were_lost(begin, tmp_path, lost, start):
    """Otherwise it would be rejected when it has finished."""
    updates = [update for update in range(1, 5) if lost != "metrics" or update != 3]
    begin(lines=tuple(reported(update, "<think>x</think>", 0.1) for update in updates))
    (state,) = (tmp_path / "state").iterdir()
    save_checkpoints(state, 2, 4)
    if lost == "responses":
        (file,) = state.glob("rollouts/attempt-001*/a.jsonl")
        file.write_text("\n".join(file.read_text().splitlines()[:-9]))
    if lost == "all metrics":
        (state / rlvr.METRICS_FILE).unlink()
    if lost == "model":
        shutil.rmtree(part_folder(state / "checkpoints", "model", 2))
    said = begin()
    assert any("were lost, so it is trained again" in line for line in said) == (lost != "nothing")
    assert any(f", resuming at update {start};" in line for line in said) == (start > 1)


def test_a_run_that_diverged_draws_other_random_numbers_each_time(begin):
    seeds = []
    for value in (0.1, math.nan, math.nan, 0.1):
        begin(lines=(reported(1, "<think>x</think>", value),))
        seeds.append(begin.command[begin.command.index("--train.seed") + 1])
    assert seeds[0] == seeds[1] == "1" and len({*seeds}) == 3, "a run that was only killed starts as it did"


def test_the_difference_of_the_base_itself_is_not_staleness(tmp_path):
    table = good()
    table["vllm_kl"] = [0.0075, 0.0095, -0.0055, 0.016]
    assert checked(table, tmp_path) == [None] * 4
    table["response_length"] = [40.0, 40.0, 40.0, 60.0]
    *before, warning = checked(table, tmp_path)
    assert before == [None] * 3
    assert warning.startswith("engine_kl (OpenRLHF's vllm_kl) is 0.016 at update 4, not within ±0.012: vLLM rounds")
    assert warning.endswith("Training stops beyond ±0.03.")
    table["vllm_kl"] = 0.03
    with pytest.raises(UserError, match=r"vllm_kl\) is 0\.03 at update 1, not within ±0\.02:"):
        checked(table, tmp_path)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (1.9e-3, None),
        (-1.9e-3, None),
        (2.1e-3, "warning"),
        (-2.1e-3, "warning"),
        (1.9e-2, "warning"),
        (-2.1e-2, "stop"),
        (2.5e-2, "stop"),
    ],
)
def test_a_stale_engine_is_named_from_the_second_update_on(tmp_path, value, told):
    table = good()
    table.loc[1, "vllm_kl"] = value
    if told == "stop":
        with pytest.raises(UserError, match=rf"vllm_kl\) is {value:.2g} at update 2, .* last checkpoint before this"):
            checked(table, tmp_path)
    else:
        warnings = checked(table, tmp_path)
        assert [bool(warning) for warning in warnings] == [False, told == "warning", False, False]
    assert health.first_failure(table.to_dict("records")) == (2 if told == "stop" else None)


def test_a_trainer_that_reports_no_engine_kl_is_stopped_at_its_first_update(tmp_path):
    with pytest.raises(UserError, match="did not report engine_kl"):
        checked(good().drop(columns="vllm_kl"), tmp_path)


def test_a_doubtful_engine_is_reported_once_and_a_stale_one_ends_the_run(begin):
    text = "<think>x</think>"
    lines = [reported(update, text, 0.1, engine) for update, engine in enumerate((1e-5, 5e-3, 6e-3), 1)]
    said = begin(lines=tuple(lines))
    warnings = [line for line in said if "engine_kl" in line]
    assert len(warnings) == 1 and warnings[0].startswith("rlvr, seed 1: warning: engine_kl (OpenRLHF's vllm_kl) is")
    said = begin(lines=(reported(1, text, 0.1), reported(2, text, 0.1, 0.03), reported(3, text, 0.1)))
    assert said[-1].startswith("engine_kl (OpenRLHF's vllm_kl) is 0.03 at update 2, not within ±0.02")
    assert not any("update 3 of" in line for line in said)


def test_an_update_without_metrics_is_named(tmp_path):
    with pytest.raises(UserError, match=r"1 of 4 updates have no metrics in .*; the first is update 3"):
        health.check_all(good().drop(index=2), 4, tmp_path)


def test_progress_has_the_time_left_from_the_pace_since_the_first_update():
    now = iter([100.0, 102.0, 110.0])
    progress = Progress("rlvr, seed 1", 110, clock=lambda: next(now))
    assert progress.line(8, "reward +0.10") == "rlvr, seed 1: update 8 of 110, reward +0.10"
    assert progress.line(9, "reward +0.20") == "rlvr, seed 1: update 9 of 110, reward +0.20, about 3 min 22 s left"
    assert progress.line(10, "x") == "rlvr, seed 1: update 10 of 110, x, about 8 min 20 s left"


@pytest.fixture
def base(tmp_path):
    """A folder that looks like a base model."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "base"
    folder.mkdir()
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"eos_token": {"content": "<eos>"}}')
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


def test_a_complete_base_is_accepted_and_states_how_texts_end(base):
    check_folder(base)
    assert end_of_text(base) == "<eos>"
    (base / "tokenizer_config.json").write_text('{"eos_token": "<end>"}')
    assert end_of_text(base) == "<end>"
    (base / "tokenizer_config.json").write_text("{}")
    with pytest.raises(UserError, match="no eos_token"):
        end_of_text(base)


def test_a_base_that_is_incomplete_or_brings_code_is_rejected(base):
    (base / "modeling.py").write_text("")
    with pytest.raises(UserError, match=r"modeling\.py"):
        check_folder(base)
    (base / "modeling.py").unlink()
    (base / "config.json").write_text('{"auto_map": {}}')
    with pytest.raises(UserError, match="auto_map"):
        check_folder(base)
    (base / "model.safetensors").rename(base / "model.bin")
    with pytest.raises(UserError, match="safetensors"):
        check_folder(base)
    (base / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json is missing"):
        check_folder(base)


def test_rows_are_read_and_bad_ones_named(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"input": "a", "output": "b"}\n')
    assert read_training_rows(file, ("input", "output")) == [{"input": "a", "output": "b"}]
    for text, said in (
        ("{\n", "line 1: this is not JSON: "),
        ('{"input": 3}\n', "line 1: a training row must be an object with text under input"),
        ("", "contains no training rows"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=said):
            read_training_rows(file, ("input",))


def test_a_text_that_would_be_cut_is_named(base, tmp_path):
    check_lengths(base, ["a a", "a a a"], 3, "max_tokens", tmp_path)
    with pytest.raises(UserError, match=r"1 of 2 rows have more than max_tokens = 2 .*: rows 2. The longest, row 2, "):
        check_lengths(base, ["a a", "a a a"], 2, "max_tokens", tmp_path)
    with pytest.raises(UserError, match=r"7 of 8 rows .*: rows 2, 3, 4, 5, 6 and 2 more. The longest, row 3, has 4\."):
        check_lengths(base, ["a", "a a", "a a a a", *["a a a"] * 5], 1, "max_tokens", tmp_path)


def model_files(folder: Path, weights: str = "model.safetensors") -> Path:
    """Write what a model consists of, with other content."""
    folder.mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", weights):
        (folder / name).write_text("new")
    return folder


def test_a_model_is_published_completely_or_rejected(tmp_path):
    made, model = model_files(tmp_path / "made", "weights"), tmp_path / "models" / "seed1"
    with pytest.raises(UserError, match=r"did not write a complete model \(weights, config\.json"):
        publish_model(made, model)
    (made / "model-00001-of-00002.safetensors").write_text("new")
    (made / ".snakemake_timestamp").touch()
    model.mkdir(parents=True)
    (model / "old").write_text("old")
    publish_model(made, model, "a card")
    assert (model / "README.md").read_text() == "a card" and not (made / "README.md").exists()
    assert not (model / ".snakemake_timestamp").exists()
    assert (model / "config.json").samefile(made / "config.json")
    assert sorted(path.name for path in model.parent.iterdir()) == ["seed1"]
    assert not (model / "old").exists() and (model / "config.json").read_text() == "new"


def test_a_model_whose_weights_were_deleted_is_not_published(tmp_path):
    made = model_files(tmp_path / "update8", "weights")
    (made / "model.safetensors").write_text("weights")
    delete_weights(made)
    with pytest.raises(
        UserError, match=r"update8 is now the selected checkpoint, but its weights were deleted .*--forcerun train_rlvr"
    ):
        publish_model(made, tmp_path / "models")


def test_tensorboard_has_every_update_of_all_attempts_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    made, events = tmp_path / "state" / "tensorboard", tmp_path / "tensorboard" / "rlvr" / "seed1"
    # Update 2 was trained again, from the checkpoint after update 1.
    for attempt, updates in ((1, (1, 2)), (2, (2, 3))):
        with SummaryWriter(made / "run", filename_suffix=f".{attempt}") as writer:
            for update in updates:
                writer.add_scalar("train/kl", attempt, update, walltime=1000 * attempt + update)
    events.mkdir(parents=True)
    (events / "events.out.tfevents.1.of-a-run-before").touch()
    metrics = pd.DataFrame({"update": [1, 2, 3, 4], "kl": [1.0, 2.0, 2.0, 0.5], "reward": [0.5, np.nan, 0.25, 1.0]})
    publish_events(metrics, trainer_metrics.event_times(made), events)
    assert len(list(events.iterdir())) == 1
    found = EventAccumulator(str(events)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("train/kl")] == [(1, 1), (2, 2), (3, 2), (4, 0.5)]
    assert [event.wall_time for event in found.Scalars("train/kl")][:3] == [1001, 2002, 2003]
    assert [event.step for event in found.Scalars("train/reward")] == [1, 3, 4]
    read = trainer_metrics.read_events(events)
    assert read["kl"].tolist() == metrics["kl"].tolist()


MODEL = Path("assets/miniature_base")
ARM = RlvrArm(
    trainer="rlvr", reward="paper", prompts_per_update=4, samples_per_prompt=2, train_batch_size=8, save_every=2,
    response_max_tokens=50,
)  # fmt: skip
CPU = Machine(device="cpu", gpus_per_node=1, vllm_engines=1, zero_stage=2)


def numbers_in_the_base() -> tuple[int, int]:
    """How many numbers the model has, and its embedding, which is the output layer too."""
    from safetensors import safe_open

    with safe_open(MODEL / "model.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name).numel() for name in file.keys()}  # noqa: SIM118
    assert tensor_sizes(MODEL) == tensors
    return sum(tensors.values()), tensors["model.embed_tokens.weight"]


def test_the_disk_space_of_a_run_is_that_of_models_checkpoints_and_responses():
    whole, embedding = numbers_in_the_base()
    others = sum(file.stat().st_size for file in MODEL.iterdir() if file.suffix != ".safetensors")
    needed = disk.disk_needed(disk.weights_in(MODEL), ARM, CPU, [4] * 7)
    # Updates 2, 4 and 6 and the last; of two of them actor and critic: the parameters and three float32 of Adam.
    assert needed.models == 4 * (4 * (whole + embedding) + others)
    assert needed.trainer == 2 * 2 * 16 * whole
    assert needed.rollouts == 56 * 1250
    gpu = disk.disk_needed(
        disk.weights_in(MODEL), ARM, CPU.model_copy(update={"device": "gpu", "zero_stage": 3}), [4] * 7
    )
    assert (gpu.models, gpu.trainer) == (4 * (2 * whole + others), 2 * 2 * 12 * whole)
    assert disk.disk_needed(disk.weights_in(MODEL), ARM, CPU, [4]).trainer == 0
    without = disk.disk_needed(
        disk.weights_in(MODEL), ARM.model_copy(update={"advantage_estimator": "grpo"}), CPU, [4] * 7
    )
    assert (without.models, without.trainer) == (needed.models, 2 * 16 * whole), "no critic, no state of it"


def test_the_disk_space_of_sft_is_one_model_and_the_states_of_its_last_epochs():
    whole, embedding = numbers_in_the_base()
    arm = Experiment().arms["sft"].model_copy(update={"epochs": 4})
    needed = disk.sft_disk_needed(disk.Weights(whole, embedding, 7), arm, CPU)
    assert (needed.models, needed.trainer, needed.rollouts) == (4 * (whole + embedding) + 7, 2 * 16 * whole, 0)
    once = disk.sft_disk_needed(disk.Weights(whole, embedding, 7), arm.model_copy(update={"epochs": 1}), CPU)
    assert once.trainer == 16 * whole


def test_a_shape_needs_the_disk_space_of_its_folder():
    counted, read = disk.weights_of(read_shape(MODEL)), disk.weights_in(MODEL)
    assert (counted.parameters, counted.tied, counted.others) == (read.parameters, read.tied, 0)


def test_the_documents_state_the_disk_space_of_the_papers_experiment():
    """Qwen2.5-3B, by its shape; the Hugging Face Hub has the file."""
    arm = Experiment().arms["rlvr"]
    needed = disk.disk_needed(
        disk.weights_of(known_shape("Qwen/Qwen2.5-3B")),
        arm,
        Machine(),
        update_sizes(10_178, arm.prompts_per_update, arm.episodes),
    )
    parts = [round(size / GB) for size in (needed.models, needed.trainer, needed.rollouts)]
    text = " ".join(Path("docs/configuration.md").read_text(encoding="utf-8").split())
    assert "needs {} + {} + {} GB while it trains".format(*parts) in text
    assert f"28 candidates need {parts[0]} GB" in text and f"keeps two, need {parts[1]} GB" in text


GB = 10**9
NEEDED = disk.Disk(models=170 * GB, trainer=148 * GB, rollouts=4 * GB)


def left(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Let every file system have this number of free bytes."""
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))


def test_too_little_disk_is_named_with_what_to_do(tmp_path, monkeypatch):
    left(monkeypatch, 322 * GB)
    assert disk.check_disk(NEEDED, tmp_path) == f"needs at most 322 GB of disk in {tmp_path}; 322 GB free"
    left(monkeypatch, 5 * GB)
    with pytest.raises(UserError) as error:
        disk.check_disk(NEEDED, tmp_path)
    first, *parts, advice = str(error.value).splitlines()
    place = next(place for place in (tmp_path, *tmp_path.parents) if place.is_mount())
    assert first == (f"training needs up to 322 GB of disk in {tmp_path}; the file system at {place} has 5.00 GB free.")
    assert [part.split(": ")[1] for part in parts] == ["170 GB", "148 GB", "4.00 GB"]
    assert "save_every" in advice and "larger disk" in advice


def test_files_of_a_stopped_run_count_as_existing(tmp_path, monkeypatch):
    with (tmp_path / "state.pt").open("wb") as file:
        file.truncate(300 * GB)
    left(monkeypatch, 22 * GB)
    line = f"needs at most 322 GB of disk in {tmp_path}, 300 GB of it already used; 22 GB free"
    assert disk.check_disk(NEEDED, tmp_path) == line
    left(monkeypatch, 22 * GB - 1)
    with pytest.raises(UserError, match=r"up to 322 GB of disk in .*, 300 GB of it already used; the file system at"):
        disk.check_disk(NEEDED, tmp_path)


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Begin RLVR on the miniature's base without a trainer, which prints the lines given; return what a person reads.

    What would have been run is in `begin.command` and `begin.variables`.
    """
    label = json.dumps({"question_id": "q", "options": ["x", "y"], "gold": 1})
    (tmp_path / "rlvr.jsonl").write_text((json.dumps({"input": "Which?", "label": label}) + "\n") * 4)

    def begin(machine: Machine = CPU, lines: tuple[str, ...] = ()) -> list[str]:
        said: list[str] = []

        def pretend(command, variables, each_line, failure_file, alone, watchers):
            begin.command, begin.variables = command, variables
            for line in lines:
                each_line(line)
            raise UserError("the trainer's end")

        monkeypatch.setattr(rlvr, "run_process", pretend)
        with pytest.raises(UserError) as error:
            run = rlvr.RlvrRun(
                arm=ARM, machine=machine, seed=1, name="mine-rlvr-seed1", display_name="rlvr, seed 1", base=MODEL,
                prompts=tmp_path / "rlvr.jsonl", models=tmp_path / "models",
                rollouts_table=tmp_path / "rollouts.parquet", metrics_table=tmp_path / "trainer.parquet",
                events=tmp_path / "tensorboard", node_logs=tmp_path / "nodes", state=tmp_path / "state",
            )  # fmt: skip
            rlvr.train_rlvr(run, said.append)
        return [*said, str(error.value)]

    return begin


def test_the_disk_space_is_reported_before_training_and_checked(begin, tmp_path, monkeypatch):
    disk_line, started, end = begin()
    (state,) = (tmp_path / "state").iterdir()
    assert disk_line.startswith(f"rlvr, seed 1: needs at most 0.14 GB of disk in {state}; ")
    assert "10 updates; starting Ray" in started and end == "the trainer's end"
    left(monkeypatch, GB // 100)
    del begin.command
    (said,) = begin()
    assert f"training needs up to 0.14 GB of disk in {state}; the file system at" in said and not hasattr(
        begin, "command"
    )


def test_the_wandb_key_stays_in_the_environment(begin, tmp_path, monkeypatch):
    machine, secret = CPU.model_copy(update={"wandb_project": "med-rlvr"}), "0123456789abcdef" * 3
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    (said,) = begin(machine)
    assert "machine.wandb_project is med-rlvr, but the package wandb is not installed" in said
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: object())
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    (said,) = begin(machine)
    assert "the environment variable WANDB_API_KEY is not set" in said and "Traceback" not in said
    assert not (tmp_path / "state").exists()

    monkeypatch.setenv("WANDB_API_KEY", secret)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    said = begin(machine)
    (state,) = (tmp_path / "state").iterdir()
    assert "med-rlvr" in begin.command and "mine-rlvr-seed1" in begin.command
    # Otherwise W&B would write its own files into the repository.
    assert begin.variables["WANDB_DIR"] == str(state)
    script = (state / "command.sh").read_text()
    assert "--logger.wandb.project med-rlvr" in script
    for text in (script, *said, *begin.command, *begin.variables, *begin.variables.values()):
        assert secret not in text
    begin(CPU)
    assert "med-rlvr" not in begin.command and "WANDB_DIR" not in begin.variables
    assert list((tmp_path / "state").iterdir()) == [state], "where a run is logged decides nothing"


def reported(update: int, response: str, reward: float, engine_kl: float = 1e-5) -> str:
    """What OpenRLHF prints of an update whose 64 responses are all this one."""
    facts = response_features(response, grade(response, ["x", "yellow"], 1), 1)
    row = {"rollout/num_samples": 64.0, "rollout/reward_mean": reward, "vllm_kl": engine_kl, "response_length": 40.0}
    row |= facts
    return f"ppo_trainer.py:551] Global step {update}: {row}"


def test_a_line_torn_by_a_crash_costs_that_line_only(tmp_path):
    printed = tmp_path / "metrics.jsonl"
    rows = [{"update": update, "reward": update / 10} for update in (1, 2, 3, 2)]
    printed.write_text(
        "".join(json.dumps(row) + "\n" for row in rows[:2]) + '{"update": 3, "rew\n' + json.dumps(rows[3])
    )
    assert trainer_metrics.read_lines(printed) == rows[:2]
    assert trainer_metrics.read_lines(printed, 1) == rows[:1]
    assert trainer_metrics.read_lines(tmp_path / "nowhere") == []


def test_an_alarm_is_printed_while_the_model_trains(begin):
    honest = "<think>Gold is a metal of this colour, and rust is not. So yellow.</think><answer>B</answer>"
    hacked = "<think>yellow</think><answer>B</answer>"
    lines = [reported(update, honest, 0.1) for update in range(1, WINDOW + 1)]
    assert not [line for line in begin(lines=tuple(lines)) if "reward hacking: " in line]
    lines += [reported(WINDOW + update, hacked, 0.9) for update in range(1, WINDOW + 1)]
    said = begin(lines=tuple(lines))
    at = next(i for i, line in enumerate(said) if f"update {2 * WINDOW} of 10, mean reward +0.90" in line)
    alarms = [line for line in said if "reward hacking: " in line]
    assert alarms and said[at + 1 : at + 1 + len(alarms)] == alarms
    assert any(
        line.startswith("rlvr, seed 1: reward hacking: empty think blocks: 0 % to 100 % since update 5")
        for line in alarms
    )


def test_a_resumed_run_has_the_last_alarms_in_its_new_log(begin, monkeypatch, capsys):
    honest = "<think>Gold is a metal of this colour, and rust is not. So yellow.</think><answer>B</answer>"
    hacked = "<think>yellow</think><answer>B</answer>"
    updates = range(1, 2 * WINDOW + 1)
    begin(lines=tuple(reported(n, honest if n <= WINDOW else hacked, 0.1 if n <= WINDOW else 0.9) for n in updates))
    capsys.readouterr()
    monkeypatch.setattr(rlvr, "restore", lambda *_: Restored(2 * WINDOW))
    said = begin()
    assert "rlvr, seed 1: reward hacking: empty think blocks: 0 % to 100 %" in capsys.readouterr().out
    assert not [line for line in said if "reward hacking: " in line], "the person was told when it sounded"


def test_a_resumed_run_continues_the_monitor(begin, monkeypatch):
    honest = "<think>Gold is a metal of this colour, and rust is not. So yellow.</think><answer>B</answer>"
    hacked = "<think>yellow</think><answer>B</answer>"
    # The last of them was trained, but not saved, and comes again.
    begin(lines=tuple(reported(update, honest, 0.1) for update in range(1, WINDOW + 2)))
    monkeypatch.setattr(rlvr, "restore", lambda *_: Restored(WINDOW))
    said = begin(lines=tuple(reported(WINDOW + update, hacked, 0.9) for update in range(1, WINDOW + 1)))
    assert any("empty think blocks: 0 % to 100 % since update 5" in line for line in said)


def test_only_a_cpu_gets_the_adapter(tmp_path, monkeypatch):
    monkeypatch.setattr(environment.cuda, "torch_release", lambda: None)
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: object())
    gpu = process_environment("gpu", 1, tmp_path)
    assert not [name for name in gpu if name.startswith(("VLLM_CPU", "DS_"))]
    assert gpu["MEDRLVR_PATCHES"] == "resume.patches ray_start surprisal"
    assert rlvr_launcher(Machine(device="gpu"), tmp_path)[1:] == ["-m", "openrlhf.cli.train_ppo_ray"]
    cpu = process_environment("cpu", 1, tmp_path)
    assert cpu["MEDRLVR_PATCHES"] == "resume.patches ray_start surprisal cpu.adapter cpu.float32"
    monkeypatch.setenv(environment.CPU_FORMAT, "bfloat16")
    assert (
        process_environment("cpu", 1, tmp_path)["MEDRLVR_PATCHES"] == "resume.patches ray_start surprisal cpu.adapter"
    )
    assert {found["PYTHONPATH"].split(os.pathsep)[0] for found in (cpu, gpu)} == {str(STARTUP)}
    assert (STARTUP / "sitecustomize.py").is_file()
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    assert process_environment("gpu", 1, tmp_path)["MEDRLVR_PATCHES"] == "resume.patches ray_start surprisal flash_attn"


def test_the_machines_threads_take_precedence_over_snakemakes(tmp_path):
    """GOTO's library is the ancestor of OpenBLAS, and no package has it."""
    import snakemake.shell

    by_snakemake = set(re.findall(r'envvars\["(\w+_NUM_THREADS)"\]', inspect.getsource(snakemake.shell)))
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} <= by_snakemake
    found = process_environment("cpu", 3, tmp_path)
    assert {found.get(name) for name in by_snakemake - {"GOTO_NUM_THREADS"}} == {"3"}


def test_deepspeed_finds_ninja(tmp_path):
    """ninja is in .venv/bin, which is not activated."""
    gpu = process_environment("gpu", 1, tmp_path)
    assert gpu["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


RAY = """
import json, psutil, ray, sys
ray.init(address="local", include_dashboard=False, object_store_memory=80 << 20, _temp_dir=sys.argv[1])
(raylet,) = [child for child in psutil.Process().children(recursive=True) if child.name() == "raylet"]
(workers,) = [word for word in raylet.cmdline() if word.startswith("--num_prestart_python_workers=")]
print("found", json.dumps([ray.cluster_resources()["CPU"], int(workers.split("=")[1])]))
"""


@pytest.mark.slow
def test_ray_starts_as_many_workers_as_the_job_needs_not_as_the_node_has_cores():
    """OpenRLHF reserves a CPU for each GPU, and its trainer needs one."""
    gpus = 1 if os.cpu_count() != 3 else 2
    variables = ray_variables(Machine(gpus_per_node=gpus))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        run = subprocess.run(
            [sys.executable, "-c", RAY, folder],
            env=os.environ | process_environment("gpu", 1, Path(folder)) | variables,
            capture_output=True,
            text=True,
            check=False,
        )
    (found,) = [line for line in run.stdout.splitlines() if line.startswith("found ")]
    assert json.loads(found.removeprefix("found ")) == [gpus + 2, gpus + 2]
    assert ray_variables(Machine(device="cpu")) == ray_variables(Machine(nodes=2)) == {}


def test_the_packages_are_those_for_the_device(monkeypatch):
    check_packages(Machine(device="cpu"))
    with pytest.raises(UserError, match=r"machine.device is gpu, but the installed packages are those for a CPU"):
        check_packages(Machine(device="gpu"))
    monkeypatch.setattr(preflight, "ENGINE_PACKAGE", {"cpu": "not-there"})
    with pytest.raises(UserError, match=r"are those for a GPU. Run make setup, in a separate clone"):
        check_packages(Machine(device="cpu"))


def test_rays_sockets_have_room_in_the_folder_for_temporary_files(monkeypatch):
    """107 characters are a path's limit, of which Ray takes 64."""
    for length, short in ((26, True), (27, False)):
        folder = "/" + "x" * (length - 1)
        monkeypatch.setattr(launchers.tempfile, "gettempdir", lambda folder=folder: folder)
        assert short_folder(17) == (folder if short else "/tmp")


def test_several_nodes_are_started_by_the_launcher_of_their_cluster(tmp_path):
    for device in ("cpu", "gpu"):
        words = rlvr_launcher(Machine(device=device, nodes=3, gpus_per_node=2), tmp_path)
        assert words[1:3] == ["-m", "medrlvr.training.cluster.launcher"]
        assert words[3:] == [
            *("--nodes=3", "--gpus=2", f"--logs={tmp_path}", "--", sys.executable, "-m", "openrlhf.cli.train_ppo_ray")
        ]


def test_several_nodes_need_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    check_nodes(Machine())
    with pytest.raises(UserError, match=r"machine.nodes is 2: .*medrlvr run --profile slurm"):
        check_nodes(Machine(nodes=2))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    check_nodes(Machine(nodes=2))


def test_flash_attn_must_be_installed_if_it_is_requested(monkeypatch):
    assert "padded" in check_attention(Machine())
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="the package flash-attn is not installed"):
        check_attention(Machine(flash_attention=True))
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: object())
    assert "packed" in check_attention(Machine(flash_attention=True))


@pytest.mark.parametrize(
    ("sinfo", "message"),
    [
        ("echo cpu; echo gpu", None),
        ("echo cpu", "Slurm has no partition gpu; it has cpu"),
        ("echo 'Unable to contact' >&2; exit 1", "controller does not answer: Unable to contact"),
        (None, "this machine has no `sinfo`"),
    ],
)
def test_partitions_are_checked_before_jobs_are_submitted(tmp_path, monkeypatch, sinfo, message):
    if sinfo:
        (tmp_path / "sinfo").write_text(f"#!/bin/sh\n{sinfo}\n")
        (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if message is None:
        check_partitions({"gpu", "cpu"})
    else:
        with pytest.raises(UserError, match=message):
            check_partitions({"gpu", "cpu"})


def test_the_written_command_repeats_the_step(tmp_path):
    script = tmp_path / "command.sh"
    code = "import os, sys; print(os.environ['MARK'], sys.argv[1:])"
    write_command(script, [sys.executable, "-c", code, "--a", "b c", "--d", "$e"], {"MARK": "it's"})
    assert "\n    --a 'b c' \\\n" in script.read_text()
    done = subprocess.run(["sh", str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "it's ['--a', 'b c', '--d', '$e']"


# A program that leaves a child which has left its session and ignores SIGTERM, as Ray's processes may.
STUBBORN = """
import os, signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print("child", child.pid, flush=True)
"""


def alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def run(code: str, **options: object) -> list[str]:
    """Run a program under `launch.run` and return its lines."""
    lines: list[str] = []
    run_process([sys.executable, "-c", code], {"PYTHONUNBUFFERED": "1"}, lines.append, **options)
    return lines


@pytest.mark.parametrize(("end", "error"), [("", None), ("raise ValueError('broken')", "ValueError: broken")])
def test_no_process_remains_however_the_step_ends(end, error):
    lines: list[str] = []
    command = [sys.executable, "-c", STUBBORN + end]
    if error is None:
        run_process(command, {}, lines.append)
    else:
        with pytest.raises(UserError, match=error):
            run_process(command, {}, lines.append)
    assert not alive(int(lines[0].split()[1]))


def test_processes_that_the_step_did_not_start_are_not_ended():
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    run("")
    assert other.poll() is None
    other.kill()
    other.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_with_a_message(number, monkeypatch):
    monkeypatch.setattr(processes, "_GRACE", 0.5)
    lines: list[str] = []

    def each_line(line: str) -> None:
        lines.append(line)
        os.kill(os.getpid(), number)

    with pytest.raises(UserError, match=rf"stopped by {number.name}.*same command"):
        run_process([sys.executable, "-c", STUBBORN + "time.sleep(600)"], {}, each_line)
    assert not alive(int(lines[0].split()[1]))


def test_a_command_ends_its_own_children_if_it_has_time(tmp_path):
    """A cluster's launcher stops its nodes; a signal from us would leave their processes and folders."""
    note = tmp_path / "note"
    child = f"import signal, sys, time; signal.signal(15, lambda *_: (open({str(note)!r}, 'w').close(), sys.exit())); "
    code = (
        "import signal, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child + 'print(1, flush=True); time.sleep(600)'!r}])\n"
        "signal.signal(15, lambda *_: (time.sleep(0.5), child.kill(), sys.exit()))\n"
        "time.sleep(600)"
    )
    for alone, told in ((0.0, True), (5.0, False)):
        note.unlink(missing_ok=True)
        with pytest.raises(UserError, match="stopped by SIGTERM"):
            run_process(
                [sys.executable, "-c", code], {}, lambda line: os.kill(os.getpid(), signal.SIGTERM), alone=alone
            )
        assert note.exists() is told


def test_a_failed_reward_ends_the_run_with_its_message(tmp_path):
    note = tmp_path / "failure.txt"
    code = f"import time; open({str(note)!r}, 'w').write('KeyError: gold'); time.sleep(600)"
    with pytest.raises(UserError, match=r"the reward failed[\s\S]*KeyError: gold"):
        run(code, failure_file=note)


@pytest.mark.parametrize(
    ("printed", "advice"),
    [
        ("OSError: [Errno 98] Address already in use", "use the same network port"),
        ("ray.exceptions.ActorDiedError: The actor died unexpectedly", "process of Ray died or was killed"),
        (
            "ActorDiedError: the actor died because of an error raised in its creation task, PinnedSourceError: x",
            r"Its last lines:\n.*PinnedSourceError",
        ),
        ("RuntimeError: [enforce fail] Cannot allocate memory", "Memory or disk ran out"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", "Memory or disk ran out"),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).",
            "The NVIDIA driver is older than torch's CUDA needs",
        ),
        ("RuntimeError: Error building extension 'fused_adam'", "DeepSpeed could not compile its optimiser"),
        (
            "ClusterError: Slurm ended job 7: its time is up.\n  n1.log:\n    ValueError: x",
            r"runtime in slurm/config.yaml\.\nIts last lines:\n  ClusterError: Slurm ended job 7.*\n    n1.log:",
        ),
        (
            "ClusterError: 2 node(s), and not all of them came within 9 s.",
            "Request GPUs in the form that your site requires",
        ),
    ],
)
def test_known_failures_are_reported_with_a_remedy(printed, advice):
    with pytest.raises(UserError, match=rf"status 7[\s\S]*{advice}"):
        run(f"import sys; print({printed!r}); sys.exit(7)")


def test_the_message_of_the_adapter_precedes_its_consequences():
    code = (
        "print('PinnedSourceError: CPU adapter: x.py'); [print('ConnectionRefusedError: y') for _ in range(9)]; 1 / 0"
    )
    with pytest.raises(UserError, match=r"Its last lines:\n  PinnedSourceError: CPU adapter: x.py$"):
        run(code)


def test_an_error_of_the_watcher_ends_the_run():
    def each_line(line):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run_process([sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"], {}, each_line)


@pytest.mark.parametrize(("rows", "step", "filled"), [(5, 4, "abcdeabc"), (4, 4, "abcd"), (1, 3, "aaa")])
def test_the_first_rows_fill_the_last_step(rows, step, filled):
    assert "".join(fill_steps("abcde"[:rows], step)) == filled


def test_tuning_memory_keeps_the_checkpoints_and_a_result_does_not():
    machine = Machine(device="cpu", gpus_per_node=2, vllm_engines=2)
    layout = checkpoint_layout(machine)
    assert layout == checkpoint_layout(machine.model_copy(update={"train_micro_batch": 1, "threads": 1}))
    assert layout != checkpoint_layout(machine.model_copy(update={"zero_stage": 1}))


def test_if_the_watching_process_is_killed_its_child_ends_too(tmp_path):
    code = (
        "import sys; from medrlvr.runtime.processes import run_process\n"
        "run_process([sys.executable, '-c', 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'], {},"
        " lambda line: print(line, flush=True))"
    )
    root = str(Path(__file__).parents[1] / "src")
    watcher = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, text=True
    )
    child = int(watcher.stdout.readline())
    watcher.kill()
    watcher.wait()
    deadline = time.monotonic() + 60
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(child)


STEMS = ["5 \u212b wide", "10 \u2126", "caf\u0065\u0301", "plain", "a\u2028b"]


def test_a_prompt_that_the_tokenizer_normalises_is_trained_on_as_it_is_decoded(tmp_path: Path) -> None:
    """Qwen's tokenizer normalises (NFC) too: the reward hook could not find the prompt in the decoded text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(sorted(alphabet))}, []))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    decoded = as_decoded(tmp_path, STEMS, Path("rlvr.jsonl"))
    assert decoded == [unicodedata.normalize("NFC", stem) for stem in STEMS] != STEMS
    assert as_decoded(tmp_path, decoded, Path("rlvr.jsonl")) == decoded


def test_a_prompt_that_the_tokenizer_does_not_give_back_is_named(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "?": 1, "b": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("b", "isolated")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UserError, match=r"rlvr.jsonl, row 2: the tokenizer does not reproduce this text"):
        as_decoded(tmp_path, ["a", "ab"], Path("rlvr.jsonl"))
