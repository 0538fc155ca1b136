"""Real training on this machine: OpenRLHF, DeepSpeed, Ray and vLLM on a small random model."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml

from medrlvr.config.arms import RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.dynamics.hack_monitor import response_features
from medrlvr.grading.grader import grade
from medrlvr.runtime.files import read_parquet
from medrlvr.training.disk import disk_needed, weights_in
from medrlvr.training.run_state import delete_finished
from medrlvr.training.trainer_metrics import read_events

pytestmark = pytest.mark.slow
extended = pytest.mark.extended

ROOT = Path(__file__).parents[1]
TEXT = "A conversation, in <think> </think><answer> </answer> tags.\nUser: number {}\nAssistant:"

RUN = """
import json, sys
from pathlib import Path
from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.machine import Machine
from medrlvr.runtime.errors import UserError
from medrlvr.training.rlvr import RlvrRun, train_rlvr
from medrlvr.training.sft import SftRun, train_sft

kind, folder, overrides = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
machine = Machine(device="cpu", gpus_per_node=1, zero_stage=2, vllm_engines=1, vllm_sleep=False,
                  sft_micro_batch=4, rollout_micro_batch=8, train_micro_batch=8, threads=1)
notify = lambda line: print("SAID", line, flush=True)
try:
    if kind == "sft":
        arm = SftArm(**{"trainer": "sft", "epochs": 2, "batch_size": 8, "max_tokens": 64}
                     | overrides)
        run = SftRun(arm=arm, learning_rate=1e-3, machine=machine, seed=1,
                     display_name="sft, learning rate 0.001, seed 1", base=folder / "base",
                     prompts=folder / "sft.jsonl", model=folder / "sft",
                     metrics_table=folder / "sft.parquet", events=folder / "events/sft", state=folder / "state")
        train_sft(run, notify)
    else:
        arm = RlvrArm(**{"trainer": "rlvr", "reward": "paper", "episodes": 2, "prompts_per_update": 2,
                         "samples_per_prompt": 2, "train_batch_size": 4,
                         "actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3,
                         "prompt_max_tokens": 64, "response_max_tokens": 8, "save_every": 3} | overrides)
        run = RlvrRun(arm=arm, machine=machine, seed=1, name="test-rlvr-seed1", display_name="rlvr, seed 1",
                      base=folder / "base", prompts=folder / "rlvr.jsonl", models=folder / "rlvr",
                      rollouts_table=folder / "rollouts.parquet", metrics_table=folder / "trainer.parquet",
                      events=folder / "events/rlvr", node_logs=folder / "nodes", state=folder / "state")
        train_rlvr(run, notify)
except UserError as error:
    sys.exit(f"UserError: {error}")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random base of the Qwen2 architecture with its tokenizer, and rows to train on: 8 questions."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("training")
    prompts = [TEXT.format(i) for i in range(8)]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=["<eos>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator(prompts * 20, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>").save_pretrained(
        folder / "base"
    )
    config = Qwen2Config(
        vocab_size=320, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=96, tie_word_embeddings=True, max_position_embeddings=128, eos_token_id=0, bos_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder / "base")
    labels = [json.dumps({"question_id": f"q{i}", "options": ["x", "y"], "gold": i % 2}) for i in range(8)]
    rows = [{"input": prompt, "label": label} for prompt, label in zip(prompts, labels, strict=True)]
    (folder / "rlvr.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"input": prompt, "output": " AB"[: 1 + i % 2] + "C"} for i, prompt in enumerate(prompts * 2)]
    (folder / "sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def start(kind: str, folder: Path, **overrides: object) -> subprocess.Popen:
    """Start one training as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", RUN, kind, str(folder), json.dumps(overrides)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def finish(process: subprocess.Popen) -> str:
    """Wait for a training and return all that it printed."""
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 0, text[-3000:]
    return text


def weights(folder: Path) -> dict:
    """Return the tensors of a model."""
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def check_model(folder: Path, base: Path) -> None:
    """Require a complete, finite model that differs from the base, as a CPU run leaves it: in float32."""
    import torch
    from transformers import AutoTokenizer

    old, new = weights(base), weights(folder)
    assert set(old) <= set(new)
    assert all(torch.isfinite(tensor).all() and tensor.dtype == torch.float32 for tensor in new.values())
    assert any(not torch.equal(old[name].float(), new[name]) for name in old)
    assert (
        AutoTokenizer.from_pretrained(folder)("User")["input_ids"]
        == AutoTokenizer.from_pretrained(base)("User")["input_ids"]
    )


def check_sizes(checkpoints: Path, base: Path) -> None:
    """Require that the checkpoints after update 3 have the size that the disk estimate assumes."""
    arm = RlvrArm(trainer="rlvr", reward="paper", save_every=3)
    needed = disk_needed(weights_in(base), arm, Machine(device="cpu", zero_stage=2), [2] * 8)
    parts = [checkpoints / part / "global_step3" for part in ("_actor", "_critic")]
    trainer = sum(file.stat().st_size for part in parts for file in part.iterdir())
    model = sum(file.stat().st_size for file in (checkpoints / "global_step3_hf").iterdir())
    # Two such checkpoints, and the models of updates 3, 6 and 8; heads and names of so small tensors count.
    assert (2 * trainer, 3 * model) == (pytest.approx(needed.trainer, rel=0.03), pytest.approx(needed.models, rel=0.03))


@extended
def test_sft(folder):
    text = finish(start("sft", folder))
    check_model(folder / "sft", folder / "base")
    assert re.search(r"sft, learning rate 0\.001, seed 1: batch \d+ of \d+, epoch 2 of 2, loss ", text)
    # Snakemake deletes the outputs of a step that was killed before it was recorded; the start after it trains nothing.
    shutil.rmtree(folder / "sft")
    again = finish(start("sft", folder))
    assert "all epochs are trained; writing the results again" in again and "batch" not in again
    check_model(folder / "sft", folder / "base")
    delete_finished(folder / "state", [folder / "sft"])
    assert not list((folder / "state").glob("*sft-*"))
    table = read_parquet(folder / "sft.parquet")
    assert np.isfinite(table["loss_mean"]).all()
    assert read_events(folder / "events/sft")["loss_mean"].tolist() == table["loss_mean"].tolist()

    assert yaml.safe_load((folder / "sft/training.yaml").read_text())["learning_rate"] == 1e-3
    subprocess.run(["sh", folder / "sft/command.sh"], check=True, capture_output=True, timeout=600)
    (by_hand,) = (folder / "state").glob("sft-*-by-hand")
    again, first = weights(by_hand / "model"), weights(folder / "sft")
    assert all((again[name] == first[name]).all() for name in first)
    shutil.rmtree(by_hand)


def test_rlvr_is_stopped_and_resumed(folder):
    import torch

    first, printed, family = start("rlvr", folder), [], []
    for line in first.stdout:
        printed.append(line)
        # The checkpoint of update 3, in the middle of an episode, exists when update 4 is done.
        if line.startswith("SAID") and "update 4 of 8" in line:
            family = [first, *psutil.Process(first.pid).children(recursive=True)]
            first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=300) == 1
    assert len(family) > 8, "".join(printed[-60:])
    assert not [process for process in family[1:] if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    (state,) = (folder / "state").glob("rlvr-*")
    assert (state / "command.sh").is_file() and not (folder / "rlvr").exists()
    check_sizes(state / "checkpoints", folder / "base")

    text = finish(start("rlvr", folder))
    # On a busy machine the signal may come after the checkpoint of update 6.
    (begun,) = re.findall(r"8 updates, resuming at update (\d);", text)
    assert begun in ("4", "7") and f"update {int(begun) - 1} of 8" not in text
    # Every third update and the last, each another model.
    assert sorted(path.name for path in (folder / "rlvr").glob("update*")) == ["update3", "update6", "update8"]
    for update in (3, 6, 8):
        check_model(folder / f"rlvr/update{update}", folder / "base")
    first, second, last = (weights(folder / f"rlvr/update{update}") for update in (3, 6, 8))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(second[name], last[name]) for name in first)
    for update in (3, 8):
        assert (folder / f"rlvr/update{update}/command.sh").is_file()
    settings = yaml.safe_load((folder / "rlvr/update3/training.yaml").read_text())
    assert (settings["episodes"], settings["actor_learning_rate"], settings["seed"]) == (2, 1e-3, 1)
    assert (state / "finished.json").is_file() and not (state / "checkpoints/_actor").exists()
    # Snakemake deletes the outputs of a step that was killed before it was recorded; the start after it trains nothing.
    shutil.rmtree(folder / "rlvr")
    (folder / "rollouts.parquet").unlink()
    again = finish(start("rlvr", folder))
    assert "all updates are trained; writing the results again" in again and "starting Ray" not in again
    assert sorted(path.name for path in (folder / "rlvr").glob("update*")) == ["update3", "update6", "update8"]
    delete_finished(folder / "state", [folder / "rlvr"])
    assert not state.exists()

    rows = read_parquet(folder / "rollouts.parquet")
    assert rows.groupby("update").size().to_dict() == dict.fromkeys(range(1, 9), 4)
    # The updates of an episode together see every question, as the data's order is restored with the rest.
    for episode in (range(1, 5), range(5, 9)):
        assert rows[rows["update"].isin(episode)]["question_id"].nunique() == 8
    assert set(rows["reward"]) <= {-1.0, 0.0, 1.0} and set(rows["sample"]) == {0, 1}
    assert not rows["response"].str.contains("A conversation", regex=False).any()

    assert rows["reward_paper"].equals(rows["reward"])

    metrics = read_parquet(folder / "trainer.parquet")
    assert metrics["update"].tolist() == list(range(1, 9))
    assert np.isfinite(metrics.to_numpy(dtype=float)).all()
    # OpenRLHF has vLLM forbid an empty response, so the first of 8 tokens is 1/(1 - P(end)) as probable there: 4e-4 on
    # average with this random model, nothing with one that seldom begins by ending. Stale weights would show as 1e-2.
    assert metrics["vllm_kl"].abs().max() < 6e-4
    means = rows.groupby("update")["reward"].mean()
    assert metrics.set_index("update")["rollout/reward_mean"].tolist() == pytest.approx(means.tolist())
    assert metrics["reward_paper"].tolist() == pytest.approx(means.tolist())
    assert (metrics["entropy_loss"] > 0).all(), "the policy's entropy, logged and no part of the loss"
    assert metrics["surprisal"].mean() == pytest.approx(metrics["entropy_loss"].mean(), rel=0.1)
    assert metrics["surprisal_right"].between(0, metrics["surprisal"]).all()
    assert set(response_features("", grade("", ["x", "y"], 0), 0)) <= set(metrics), (
        "what the reward-hacking monitor reads"
    )
    assert len(list((folder / "events/rlvr").iterdir())) == 1
    events = read_events(folder / "events/rlvr")
    assert events["update"].tolist() == metrics["update"].tolist()
    assert events["entropy_loss"].tolist() == pytest.approx(metrics["entropy_loss"].tolist(), abs=1e-6)
    assert (metrics.loc[1:, ["actor_grad_norm", "critic_grad_norm"]] > 0).all().all()


@extended
@pytest.mark.parametrize(
    ("advantage_estimator", "kl_coefficient"), [("grpo", 0.0), ("rloo", 0.05), ("reinforce++", 0.05)]
)
def test_rlvr_without_critic(folder: Path, tmp_path: Path, advantage_estimator: str, kl_coefficient: float) -> None:
    """Metrics of models that the run does not have are missing and not 0, as OpenRLHF reports them."""
    for name in ("base", "rlvr.jsonl"):
        (tmp_path / name).symlink_to(folder / name)
    # A random model does this now and then, so that there is an advantage.
    reward = tmp_path / "even.py"
    reward.write_text("def reward(grade):\n    return 0.1 * (grade.chars_before_think % 2)\n")
    lean = {"advantage_estimator": advantage_estimator, "kl_coefficient": kl_coefficient, "reward": str(reward)}
    short = {"episodes": 1, "prompts_per_update": 4, "samples_per_prompt": 4, "train_batch_size": 16, "save_every": 1}
    text = finish(start("rlvr", tmp_path, **lean, **short))
    reference = "" if kl_coefficient == 0 else " + reference"
    assert f"2 updates; starting Ray, vLLM and actor{reference}\n" in text
    assert sorted(path.name for path in (tmp_path / "rlvr").glob("update*")) == ["update1", "update2"]
    check_model(tmp_path / "rlvr/update2", tmp_path / "base")
    metrics = read_parquet(tmp_path / "trainer.parquet")
    assert metrics["update"].tolist() == [1, 2] and np.isfinite(metrics.to_numpy(dtype=float)).all()
    assert (metrics["actor_grad_norm"] > 0).all() and "vllm_kl" in metrics
    assert not [name for name in metrics if "critic" in name or name == "values"]
    assert {"kl", "logprobs_diff"} & set(metrics) == ({"kl", "logprobs_diff"} if kl_coefficient else set())
    if not kl_coefficient:
        assert "kl" not in read_events(tmp_path / "events/rlvr")
    if advantage_estimator == "grpo":
        assert (metrics["group_reward_std"] > 0).all()


@extended
def test_a_reward_that_fails_ends_the_run_with_a_message(folder):
    rows = [json.loads(line) for line in (folder / "rlvr.jsonl").read_text().splitlines()]
    bad = folder / "bad"
    bad.mkdir()
    (bad / "base").symlink_to(folder / "base")
    (bad / "rlvr.jsonl").write_text("".join(json.dumps(row | {"label": "{}"}) + "\n" for row in rows))
    process = start("rlvr", bad)
    text = process.communicate(timeout=600)[0]
    assert process.returncode == 1
    assert "UserError: the reward failed" in text and "KeyError: 'options'" in text
