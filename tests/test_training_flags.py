"""Our command lines against the pinned OpenRLHF's own parsers, and the value that each setting ends in."""

import argparse
import ast
import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import load_config
from medrlvr.config.machine import Machine
from medrlvr.training.memory.fit import check_arms
from medrlvr.training.openrlhf import HOOK, Paths, rlvr_arguments, sft_arguments

PATHS = Paths(Path("/m/base"), Path("/d/rows.jsonl"), Path("/s/model"), Path("/s/checkpoints"), Path("/s/metrics"))
CPU = Machine(
    device="cpu",
    gpus_per_node=1,
    zero_stage=0,
    vllm_engines=1,
    vllm_sleep=False,
    rollout_micro_batch=6,
    train_micro_batch=3,
)
GPU = Machine(
    device="gpu",
    nodes=2,
    gpus_per_node=4,
    zero_stage=3,
    optimiser_offload=True,
    gradient_checkpointing=False,
    flash_attention=True,
    vllm_engines=2,
    vllm_sleep=True,
    train_micro_batch=4,
)
SFT = SftArm(trainer="sft", epochs=3, learning_rates=(1e-5, 5e-6), batch_size=16, max_tokens=99)
RLVR = RlvrArm(
    trainer="rlvr",
    reward="paper",
    rows=11,
    episodes=3,
    prompts_per_update=6,
    samples_per_prompt=4,
    train_batch_size=24,
    ppo_epochs=2,
    actor_learning_rate=1e-4,
    critic_learning_rate=3e-4,
    warmup_ratio=0.04,
    kl_coefficient=0.02,
    gamma=0.99,
    gae_lambda=0.94,
    clip_range=0.21,
    value_clip_range=0.22,
    max_gradient_norm=0.9,
    temperature=0.8,
    top_p=0.7,
    prompt_max_tokens=100,
    response_max_tokens=50,
    save_every=5,
)


def parser_of(module: str) -> argparse.ArgumentParser:
    """Build the parser that a module of OpenRLHF builds when run as a program, and run nothing else of it.

    The source between `parser = argparse.ArgumentParser()` and `args = parser.parse_args()` is executed alone.
    """
    source = Path(importlib.util.find_spec("openrlhf").submodule_search_locations[0], "cli", f"{module}.py").read_text()
    main = ast.parse(source).body[-1]
    assert isinstance(main, ast.If)
    names = [ast.unparse(statement) for statement in main.body]
    end = names.index("args = parser.parse_args()")
    assert names[0] == "parser = argparse.ArgumentParser()"
    program = ast.Module(main.body[:end], type_ignores=[])
    from datetime import datetime

    scope = {"argparse": argparse, "datetime": datetime}
    exec(compile(program, module, "exec"), scope)
    return scope["parser"]


def parse(module: str, arguments: list[str]) -> dict[str, object]:
    """Return what OpenRLHF's parser makes of `arguments`; abbreviated options are errors."""
    parser = parser_of(module)
    parser.allow_abbrev = False
    parser.exit_on_error = False
    values, unknown = parser.parse_known_args(arguments)
    assert not unknown
    return vars(values)


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
def test_every_setting_of_rlvr_reaches_its_option(machine):
    values = parse("train_ppo_ray", rlvr_arguments(RLVR, machine, 7, PATHS))
    expected = {
        "actor.model_name_or_path": "/m/base",
        "critic.model_name_or_path": "/m/base",
        "reward.remote_url": str(HOOK),
        "data.prompt_dataset": "/d/rows.jsonl",
        "data.input_key": "input",
        "data.label_key": "label",
        "data.max_samples": 10**8,
        "data.max_len": 150,
        "data.apply_chat_template": False,
        "data.input_template": None,
        "rollout.batch_size": 6,
        "rollout.n_samples_per_prompt": 4,
        "rollout.max_new_tokens": 50,
        "rollout.temperature": 0.8,
        "rollout.top_p": 0.7,
        "train.num_episodes": 3,
        "train.batch_size": 24,
        "train.max_epochs": 2,
        "train.seed": 7,
        "actor.adam.lr": 1e-4,
        "critic.adam.lr": 3e-4,
        "actor.adam.betas": [0.9, 0.95],
        "critic.adam.betas": [0.9, 0.95],
        "actor.lr_scheduler": "cosine_with_min_lr",
        "critic.lr_scheduler": "cosine_with_min_lr",
        "actor.lr_warmup_ratio": 0.04,
        "critic.lr_warmup_ratio": 0.04,
        "actor.max_norm": 0.9,
        "critic.max_norm": 0.9,
        "actor.loss_agg_mode": "seq-mean-token-mean",
        "actor.eps_clip": 0.21,
        "actor.entropy_coef": 0.0,
        "critic.value_clip": 0.22,
        "algo.advantage.estimator": "gae",
        "algo.advantage.gamma": 0.99,
        "algo.advantage.lambd": 0.94,
        "algo.kl.init_coef": 0.02,
        "algo.kl.estimator": "k1",
        "algo.kl.use_loss": False,
        "algo.advantage.is_correction_level": "token",
        "algo.advantage.is_correction_mode": "clip",
        "algo.advantage.is_correction_threshold": [1.0, 1.0],
        "algo.dynamic_filtering_enable": False,
        "reward.normalize_enable": False,
        "reward.overlong_buffer_len": None,
        "reward.stop_properly_penalty_coef": None,
        "eval.dataset": None,
        "ckpt.save_steps": 5,
        "ckpt.save_hf": True,
        "ckpt.output_dir": "/s/model",
        "ckpt.path": "/s/checkpoints",
        "ckpt.load_enable": True,
        "logger.tensorboard_dir": "/s/metrics",
        "logger.wandb.key": None,
        "ds.packing_samples": machine is GPU,
        "ds.attn_implementation": "sdpa" if machine is CPU else "flash_attention_2",
        "ds.zero_stage": machine.zero_stage,
        "ds.adam_offload": machine is GPU,
        "actor.gradient_checkpointing_enable": machine is CPU,
        # Eight GPUs share the 24 responses of a step, fewer than the micro-batches allow.
        "rollout.micro_batch_size": 6 if machine is CPU else 3,
        "train.micro_batch_size": 3,
        "vllm.gpu_memory_utilization": machine.vllm_memory_utilization,
        "vllm.num_engines": 1 if machine is CPU else 4,
        "vllm.tensor_parallel_size": 1 if machine is CPU else 2,
        "vllm.sync_backend": "gloo" if machine is CPU else "nccl",
        "vllm.enforce_eager": machine is CPU,
        "vllm.enable_sleep": machine.vllm_sleep,
        "ds.enable_sleep": machine.vllm_sleep,
        "train.colocate_all": machine is GPU,
        "train.async_enable": False,
    }
    assert {name: values[name] for name in expected} == expected
    for group in ("actor", "critic", "ref", "reward"):
        placed = values[f"{group}.num_nodes"], values[f"{group}.num_gpus_per_node"]
        assert placed == (machine.nodes, machine.gpus_per_node)


@pytest.mark.parametrize(
    ("estimator", "theirs"), [("reinforce++", "reinforce"), ("grpo", "group_norm"), ("rloo", "rloo")]
)
def test_another_estimator_changes_that_option_alone(estimator, theirs):
    arm = RLVR.model_copy(update={"advantage_estimator": estimator})
    without = parse("train_ppo_ray", rlvr_arguments(RLVR, CPU, 7, PATHS))
    values = parse("train_ppo_ray", rlvr_arguments(arm, CPU, 7, PATHS))
    changed = {name: value for name, value in values.items() if value != without[name]}
    assert changed == {"algo.advantage.estimator": theirs}


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"clip_high": 0.28}, {"actor.eps_clip_low_high": [0.21, 0.28]}),
        ({"importance_weights": (0.0, 2.0)}, {"algo.advantage.is_correction_threshold": [0.0, 2.0]}),
        (
            {"advantage_estimator": "dr_grpo"},
            {"algo.advantage.estimator": "dr_grpo", "actor.loss_agg_mode": "token-mean"},
        ),
        ({"labels": "wrong"}, {}),
    ],
)
def test_a_later_key_changes_its_options_alone(update, expected):
    without = parse("train_ppo_ray", rlvr_arguments(RLVR, CPU, 7, PATHS))
    values = parse("train_ppo_ray", rlvr_arguments(RLVR.model_copy(update=update), CPU, 7, PATHS))
    assert {name: value for name, value in values.items() if value != without[name]} == expected


def test_two_cpu_nodes_place_their_models_as_gpus_do():
    """A Slurm node of a test has one simulated GPU, which all models then share."""
    machine = CPU.model_copy(update={"nodes": 2})
    values = parse("train_ppo_ray", rlvr_arguments(RLVR, machine, 7, PATHS))
    assert values["train.colocate_all"] and values["vllm.num_engines"] == 2
    assert values["vllm.tensor_parallel_size"] == 1 and values["train.micro_batch_size"] == 3


def test_every_setting_of_sft_reaches_its_option():
    values = parse("train_sft", sft_arguments(SFT, 5e-6, CPU, 7, PATHS, save_every=3))
    expected = {
        "model.model_name_or_path": "/m/base",
        "model.pretrain_mode_enable": False,
        "data.dataset": "/d/rows.jsonl",
        "data.input_key": "input",
        "data.output_key": "output",
        "data.input_template": "",
        "data.apply_chat_template": False,
        "data.max_len": 101,
        "train.max_epochs": 3,
        "train.batch_size": 16,
        "train.micro_batch_size": CPU.sft_micro_batch,
        "train.seed": 7,
        "adam.lr": 5e-6,
        "adam.betas": [0.9, 0.95],
        "lr_scheduler": "cosine_with_min_lr",
        "lr_warmup_ratio": 0.03,
        "max_norm": 1.0,
        "ckpt.save_steps": 3,
        "ckpt.output_dir": "/s/model",
        "ckpt.load_enable": True,
        "ds.packing_samples": False,
        "ds.adam_offload": False,
        "model.gradient_checkpointing_enable": True,
        "eval.dataset": None,
        "logger.wandb.key": None,
    }
    assert {name: values[name] for name in expected} == expected


def test_the_entropy_is_logged_and_not_part_of_the_loss():
    """OpenRLHF computes it where the coefficient is not None, and then adds its multiple to the loss."""
    source = Path(importlib.util.find_spec("openrlhf").submodule_search_locations[0], "trainer/ray/ppo_actor.py")
    text = source.read_text(encoding="utf-8")
    assert "entropy_coef is not None" in text and "entropy_coef != 0" in text


@pytest.mark.parametrize(
    ("estimator", "theirs"),
    [("gae", "gae"), ("reinforce++", "reinforce"), ("grpo", "group_norm"), ("rloo", "rloo")],
)
def test_an_estimator_is_that_of_openrlhf_and_nothing_else_differs(estimator, theirs):
    values = parse(
        "train_ppo_ray", rlvr_arguments(RLVR.model_copy(update={"advantage_estimator": estimator}), CPU, 7, PATHS)
    )
    usual = parse("train_ppo_ray", rlvr_arguments(RLVR, CPU, 7, PATHS))
    assert values | {"algo.advantage.estimator": "gae"} == usual
    assert values["algo.advantage.estimator"] == theirs
    # The KL is inside the reward for all of them, and the loss is averaged in the same way.
    assert not values["algo.kl.use_loss"] and values["actor.loss_agg_mode"] == "seq-mean-token-mean"


def test_a_wandb_project_is_named_and_the_key_is_not(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    machine = CPU.model_copy(update={"wandb_project": "med-rlvr"})
    named = replace(PATHS, name="mine-rlvr-seed7")
    arguments = rlvr_arguments(RLVR, machine, 7, named)
    without = parse("train_ppo_ray", rlvr_arguments(RLVR, CPU, 7, PATHS))
    values = parse("train_ppo_ray", arguments)
    changed = {name: value for name, value in values.items() if value != without[name]}
    # OpenRLHF asks whether there is a key, and W&B takes its own from the environment.
    assert changed == {
        "logger.wandb.key": "WANDB_API_KEY",
        "logger.wandb.project": "med-rlvr",
        "logger.wandb.run_name": "mine-rlvr-seed7",
    }
    assert "a" * 40 not in " ".join(arguments)


def test_ppo_also_writes_tensorboard_with_wandb():
    """By PPO's trainer alone: SFT's writes it only without W&B, and so is not given any."""
    folder = Path(importlib.util.find_spec("openrlhf").submodule_search_locations[0], "trainer")
    assert "self.tensorboard_logger = TensorboardLogger(self.args) if self.args.logger.tensorboard_dir else None" in (
        folder / "ppo_trainer.py"
    ).read_text(encoding="utf-8")
    assert "tensorboard_dir and self._wandb is None" in (folder / "sft_trainer.py").read_text(encoding="utf-8")
    machine = CPU.model_copy(update={"wandb_project": "med-rlvr"})
    assert sft_arguments(SFT, 5e-6, machine, 7, PATHS, 3) == sft_arguments(SFT, 5e-6, CPU, 7, PATHS, 3)


@pytest.mark.parametrize("module", ["train_ppo_ray", "train_sft"])
def test_options_are_spelt_in_full_and_given_once(module):
    arguments = (
        rlvr_arguments(RLVR, GPU, 1, PATHS) if module == "train_ppo_ray" else sft_arguments(SFT, 5e-6, GPU, 1, PATHS, 1)
    )
    options = [word for word in arguments if word.startswith("--")]
    known = {option for action in parser_of(module)._actions for option in action.option_strings}
    assert set(options) <= known
    assert len(options) == len(set(options))


@pytest.mark.parametrize("module", ["train_ppo_ray", "train_sft"])
def test_no_option_that_decides_a_result_is_left_to_its_default(module):
    """A new numeric or choice option of a group that shapes learning must be passed or named here."""
    arguments = (
        rlvr_arguments(RLVR, CPU, 1, PATHS) if module == "train_ppo_ray" else sft_arguments(SFT, 5e-6, CPU, 1, PATHS, 1)
    )
    left = {
        action.dest
        for action in parser_of(module)._actions
        if action.option_strings
        and not set(action.option_strings) & set(arguments)
        and action.default not in (None, False, argparse.SUPPRESS)
    }
    learning = (
        "actor.",
        "critic.",
        "algo.",
        "rollout.",
        "train.",
        "reward.",
        "adam.",
        "optim",
        "lr",
        "max_norm",
        "model.",
    )
    harmless = {
        "algo.kl.horizon",  # of the adaptive controller, off without a target
        "algo.dynamic_filtering_range",  # off
        "train.async_queue_size",
        "train.ema_beta",
        "train.max_tokens_per_gpu",  # of dynamic batches, off
        "reward.overlong_penalty_factor",  # off without a buffer length
    }
    left = {
        name for name in left if name.startswith(learning) and ".muon." not in name and not name.startswith("muon.")
    }
    assert left <= harmless


def test_logging_the_engine_kl_does_not_change_the_objective():
    """The importance weight clamped to [1, 1]: the same loss and gradient as with the correction off."""
    torch = pytest.importorskip("torch")
    source = Path(importlib.util.find_spec("openrlhf").submodule_search_locations[0], "models", "loss.py").read_text()
    scope: dict[str, object] = {"__name__": "loss"}
    scope["masked_mean"] = lambda x, mask, dim=-1: (
        (x * mask).sum() / mask.sum() if dim is None else (x * mask).sum(dim) / mask.sum(dim)
    )
    exec(compile(source.replace("from .utils import masked_mean", ""), "loss.py", "exec"), scope)
    values = parse("train_ppo_ray", rlvr_arguments(RLVR, CPU, 1, PATHS))
    options = {name: values[f"algo.advantage.{name}"] for name in (
        "is_correction_level", "is_correction_mode", "is_correction_gating", "is_correction_threshold")}  # fmt: skip
    torch.manual_seed(0)
    old, rollout, advantages = torch.randn(3, 4, 9).unbind(0)
    mask = (torch.rand(4, 9) < 0.7).float()
    results = []
    for extra in ({}, options):
        new = (old + 0.3 * torch.randn(4, 9, generator=torch.Generator().manual_seed(1))).requires_grad_()
        loss, *_, vllm_kl, _ = scope["PolicyLoss"](token_level_loss=False, **extra)(new, old, advantages, mask, rollout)
        loss.backward()
        results.append((loss.detach(), new.grad, vllm_kl))
    assert results[0][2] is None and results[1][2] is not None
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


@pytest.mark.slow
def test_sft_learns_from_the_letter_and_the_end_alone(tmp_path):
    """OpenRLHF's own data set, with our options, on a row as we write it."""
    from types import SimpleNamespace

    from datasets import Dataset
    from openrlhf.datasets import SFTDataset
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("assets/miniature_base")
    values = parse("train_sft", sft_arguments(SFT, 5e-6, CPU, 7, PATHS, save_every=3))
    args = SimpleNamespace(**{key: values[f"data.{key}"] for key in ("input_key", "output_key", "apply_chat_template")})
    rows = Dataset.from_list([{"input": "Which?\nAnswer:", "output": " B<|endoftext|>"}])
    data = SFTDataset(
        rows, tokenizer, values["data.max_len"], SimpleNamespace(args=SimpleNamespace(data=args)),
        input_template=values["data.input_template"], num_processors=1,
    )  # fmt: skip
    tokens, _, mask = data[0]
    # A mask's position is the token before the predicted one.
    learnt = tokens[0][1:][mask[0][:-1].bool()]
    assert tokenizer.convert_ids_to_tokens(learnt) == ["\u0120B", "<|endoftext|>"]


@pytest.mark.parametrize("name", ["miniature_gpu", "miniature_two_gpus"])
def test_the_first_tests_on_gpus_use_the_options_of_the_papers_experiment(name: str) -> None:
    """Only gradient checkpointing is missing: such a small model has no memory to save."""
    settings = [yaml.safe_load(Path(f"config/{file}.yaml").read_text()) for file in ("config", "miniature", name)]
    values = settings[0]
    for overlay in settings[1:]:
        update_config(values, overlay)
    experiment, paper = load_config(values, []), Experiment()

    def options(of: Experiment) -> set[str]:
        return {word for word in rlvr_arguments(of.arms["rlvr"], of.machine, 1, PATHS) if word.startswith("--")}

    assert options(paper) ^ options(experiment) == {"--actor.gradient_checkpointing_enable"}
    assert "--vllm.enable_sleep" in options(experiment)
    check_arms(experiment, Path("results/nothing/models/base"))
    assert (experiment.machine.zero_stage == 3) == (name == "miniature_two_gpus")
