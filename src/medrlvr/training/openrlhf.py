"""All command-line options of OpenRLHF 0.11.2 that medrlvr sets; no other module sets any.

All values that matter are passed explicitly, because defaults changed between versions without notice (lambda, value
clip, loss aggregation). A test parses the result with the pinned version's own parser.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.machine import Machine
from medrlvr.grading.rewards import LIMIT

HOOK = Path(__file__).with_name("reward_hook.py").resolve()
"""The file from which OpenRLHF loads the reward function."""

# Not given by the paper: OpenRLHF's values at the time, the same for every optimiser here.
_ADAMW = {"adam.betas": (0.9, 0.95), "adam.eps": 1e-8, "adam.weight_decay": 0.0}
_SCHEDULE = {"lr_scheduler": "cosine_with_min_lr", "min_lr_ratio": 0.1}
_ESTIMATORS = {"gae": "gae", "reinforce++": "reinforce", "grpo": "group_norm", "rloo": "rloo", "dr_grpo": "dr_grpo"}
"""Name in the literature -> OpenRLHF's name."""

_SFT_WARMUP_RATIO = 0.03
_SFT_MAX_NORM = 1.0

CHECKPOINTS_KEPT = 2
"""Number of trainer states. The oldest is deleted before the next is written, so with one, a crash could leave none."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Files and folders that a run reads and writes.

    Attributes:
        base: folder of the base model.
        data: JSON lines; `input` and `output` for SFT, `input` and `label` for RLVR.
        model: folder for the trained model.
        checkpoints: folder of the trainer's state; training resumes from a checkpoint in it.
        metrics: folder of TensorBoard event files.
        name: the run's name in logs; it does not affect the result.
    """

    base: Path
    data: Path
    model: Path
    checkpoints: Path
    metrics: Path
    name: str = field(default="run", kw_only=True)

    @classmethod
    def inside(cls, folder: Path, base: Path, name: str = "run") -> "Paths":
        """Return the paths of a run whose state is in `folder`."""
        places = ("rows.jsonl", "model", "checkpoints", "tensorboard")
        return cls(base.resolve(), *(folder / place for place in places), name=name)


NOWHERE = Paths(*[Path()] * 5)
"""Placeholder paths for arguments that are compared but never run."""


def sft_arguments(
    arm: SftArm, learning_rate: float, machine: Machine, seed: int, paths: Paths, save_every: int
) -> list[str]:
    """Return the arguments of `openrlhf.cli.train_sft`: loss on the output only, no chat template.

    Args:
        learning_rate: one of the arm's learning rates.
        save_every: optimiser steps between two checkpoints of the trainer.
    """
    return _flatten(
        {
            "model.model_name_or_path": paths.base,
            "model.aux_loss_coef": 0.0,
            "data.dataset": paths.data,
            "data.dataset_split": "train",
            "data.input_key": "input",
            "data.output_key": "output",
            # The default adds "User: " before the input; an empty template leaves the input unchanged.
            "data.input_template": "",
            "data.max_len": arm.max_tokens + 2,  # prompts that leave at most two tokens are dropped silently
            "data.dataloader_num_workers": 0,
            "train.max_epochs": arm.epochs,
            "train.batch_size": arm.batch_size,
            "train.micro_batch_size": min(machine.sft_micro_batch, arm.batch_size // machine.gpus_per_node),
            "train.seed": seed,
            **_optimiser("", learning_rate, _SFT_WARMUP_RATIO, _SFT_MAX_NORM),
            **_deepspeed(machine),
            "model.gradient_checkpointing_enable": machine.gradient_checkpointing,
            "eval.steps": -1,
            "ckpt.save_steps": save_every,
            **_checkpoints(paths),
            **_logging(paths),
        }
    )


# One long function, because the order of the options enters the hash of a run's state.
def rlvr_arguments(arm: RlvrArm, machine: Machine, seed: int, paths: Paths) -> list[str]:
    """Return the arguments of `openrlhf.cli.train_ppo_ray`: PPO's clipped loss, per-token KL in the reward."""
    gpus = machine.gpus_per_node * machine.nodes
    groups = ("actor", "critic", "ref", "reward")
    on_cpu = machine.device == "cpu"
    return _flatten(
        {
            **{f"{group}.num_nodes": machine.nodes for group in groups},
            **{f"{group}.num_gpus_per_node": machine.gpus_per_node for group in groups},
            # On one GPU the models take turns; on one CPU the actor, critic and reference compute concurrently.
            "train.colocate_all": not on_cpu or machine.nodes > 1,
            "actor.model_name_or_path": paths.base,
            # Ignored without a critic, like all options of the critic.
            "critic.model_name_or_path": paths.base,
            "reward.remote_url": HOOK,
            "data.prompt_dataset": paths.data,
            "data.prompt_split": "train",
            "data.input_key": "input",
            "data.label_key": "label",
            "data.max_samples": 10**8,  # all rows: they were selected before
            "data.max_len": arm.prompt_max_tokens + arm.response_max_tokens,
            "data.dataloader_num_workers": 0,
            "rollout.batch_size": arm.prompts_per_update,
            "rollout.vllm_generate_batch_size": arm.prompts_per_update,
            "rollout.n_samples_per_prompt": arm.samples_per_prompt,
            "rollout.micro_batch_size": min(machine.rollout_micro_batch, arm.train_batch_size // gpus),
            "rollout.max_new_tokens": arm.response_max_tokens,
            "rollout.temperature": arm.temperature,
            "rollout.top_p": arm.top_p,
            "train.num_episodes": arm.episodes,
            "train.max_epochs": arm.ppo_epochs,
            "train.batch_size": arm.train_batch_size,
            "train.micro_batch_size": min(machine.train_micro_batch, arm.train_batch_size // gpus),
            "train.seed": seed,
            **_optimiser("actor.", arm.actor_learning_rate, arm.warmup_ratio, arm.max_gradient_norm),
            **_optimiser("critic.", arm.critic_learning_rate, arm.warmup_ratio, arm.max_gradient_norm),
            "actor.policy_loss_type": "ppo",
            # The paper's equation 1 averages over each response first, and Dr. GRPO over all tokens of a step.
            "actor.loss_agg_mode": "token-mean" if arm.advantage_estimator == "dr_grpo" else "seq-mean-token-mean",
            "actor.eps_clip": arm.clip_range,
            **({"actor.eps_clip_low_high": (arm.clip_range, arm.clip_high)} if arm.clip_high else {}),
            "actor.aux_loss_coef": 0.0,
            "actor.entropy_coef": 0.0,  # adds nothing to the loss; without it the entropy is not logged
            "critic.value_clip": arm.value_clip_range,
            "critic.freezing_steps": -1,  # 0 would skip the actor in the first update
            "algo.advantage.estimator": _ESTIMATORS[arm.advantage_estimator],
            "algo.advantage.gamma": arm.gamma,
            "algo.advantage.lambd": arm.gae_lambda,
            "algo.kl.init_coef": arm.kl_coefficient,
            "algo.kl.estimator": "k1",
            "reward.clip_range": (-LIMIT, LIMIT),
            # Logs vllm_kl (engine_kl). Without importance weights, clamping them to [1, 1] leaves the objective exactly
            # unchanged.
            "algo.advantage.is_correction_level": "token",
            "algo.advantage.is_correction_mode": "clip",
            "algo.advantage.is_correction_gating": "ratio",
            "algo.advantage.is_correction_threshold": arm.importance_weights or (1.0, 1.0),
            "vllm.num_engines": machine.vllm_engines * machine.nodes,
            "vllm.tensor_parallel_size": machine.gpus_per_node // machine.vllm_engines,
            "vllm.gpu_memory_utilization": machine.vllm_memory_utilization,
            "vllm.sync_backend": "gloo" if on_cpu else "nccl",
            "vllm.enforce_eager": on_cpu,
            "vllm.enable_prefix_caching": True,  # all prompts start the same, and each is sampled several times
            "vllm.enable_sleep": machine.vllm_sleep,
            "ds.enable_sleep": machine.vllm_sleep,
            **_deepspeed(machine),
            "actor.gradient_checkpointing_enable": machine.gradient_checkpointing,  # the critic's as well
            "eval.steps": -1,
            "ckpt.save_steps": arm.save_every,
            "ckpt.save_hf": True,  # in addition to the trainer state: models to evaluate
            **_checkpoints(paths),
            **_logging(paths),
            **_wandb(machine),
        }
    )


def _optimiser(prefix: str, learning_rate: float, warmup_ratio: float, max_norm: float) -> Mapping[str, object]:
    values = {
        "optim": "adam",
        "adam.lr": learning_rate,
        **_ADAMW,
        **_SCHEDULE,
        "lr_warmup_ratio": warmup_ratio,
        "max_norm": max_norm,
    }
    return {f"{prefix}{name}": value for name, value in values.items()}


def _deepspeed(machine: Machine) -> Mapping[str, object]:
    return {
        "ds.zero_stage": machine.zero_stage,
        "ds.adam_offload": machine.optimiser_offload,
        "ds.param_dtype": "bf16",  # the CPU adapter changes this to float32
        "ds.attn_implementation": "flash_attention_2" if machine.flash_attention else "sdpa",
        "ds.packing_samples": machine.flash_attention,
        "ds.tensor_parallel_size": 1,
        "ds.ring_attn_size": 1,
        "ds.zpg": 1,
        "ds.lora.rank": 0,
    }


def _checkpoints(paths: Paths) -> Mapping[str, object]:
    return {
        "ckpt.output_dir": paths.model,
        "ckpt.path": paths.checkpoints,
        "ckpt.load_enable": True,
        "ckpt.max_num": CHECKPOINTS_KEPT,
        "ckpt.max_mem": 10**9,  # GB; above the default, 1000, OpenRLHF deletes states although fewer are kept
    }


def _logging(paths: Paths) -> Mapping[str, object]:
    return {"logger.logging_steps": 1, "logger.tensorboard_dir": paths.metrics, "logger.wandb.run_name": paths.name}


def _wandb(machine: Machine) -> Mapping[str, object]:
    # Not for SFT: with W&B, OpenRLHF's SFT writes no TensorBoard files, from which the metrics are read.
    if machine.wandb_project is None:
        return {}
    # Any value enables W&B, which reads the key from the environment. Passed here, the key would appear in command.sh,
    # in logs and in W&B itself.
    return {"logger.wandb.key": "WANDB_API_KEY", "logger.wandb.project": machine.wandb_project}


def _flatten(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in _words(f"--{name}", value)]


def _words(option: str, value: object) -> Iterator[str]:
    if value is False:
        return
    yield option
    if isinstance(value, Sequence) and not isinstance(value, str):
        yield from map(str, value)
    elif value is not True:
        yield str(value)
