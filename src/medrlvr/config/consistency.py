"""Find settings that are valid alone but cannot be used together."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from medrlvr.config.arms import Arm, RlvrArm
from medrlvr.config.controls import PROBE_TOKENS, Role
from medrlvr.config.data import BaseModelSource
from medrlvr.config.experiment import DEV_SUFFIX, Experiment
from medrlvr.config.machine import Machine

Conflicts = Iterator[tuple[tuple[str, ...], str]]
"""Path of the key to change, and the reason."""

_NAME = re.compile(r"[a-z0-9_]+")
_GROUPED = ("grpo", "rloo", "dr_grpo")
"""Estimators that compare the responses to one prompt."""
_RESERVED = ("train", "contamination", "development")
"""Names of other outputs of the rule that writes the benchmarks' questions."""


def inconsistencies(experiment: Experiment) -> Conflicts:
    """Yield the key to change and the reason for every setting that is valid alone but conflicts with another."""
    yield from _machine_conflicts(experiment.machine)
    base = experiment.base
    if "Qwen2.5-3B" not in base.name and base.licence == BaseModelSource().licence:
        yield ("base", "licence"), f"is the licence of Qwen2.5-3B; enter the licence of {base.name}"
    if experiment.data.development == experiment.data.train:
        yield ("data", "development"), "is also data.train; choose a set on which no model is trained"
    yield from _benchmark_conflicts(experiment)
    if any(isinstance(arm, RlvrArm) for arm in experiment.arms.values()):
        yield from _sampling_conflicts(experiment)
    else:
        yield ("arms",), "must contain an arm with trainer: rlvr; without one there are no training dynamics to report"
    for name, arm in experiment.arms.items():
        yield from _name_conflicts(name, experiment)
        for key, message in _arm_conflicts(arm, experiment.machine):
            yield ("arms", name, key), message
    yield from _mode_conflicts(experiment)
    yield from _control_conflicts(experiment)
    for path, longest in _text_lengths(experiment):
        if longest > base.context_tokens:
            yield (
                path,
                f"allows {longest} tokens for prompt and response together, but base.context_tokens is"
                f" {base.context_tokens}; lower a limit, or raise base.context_tokens if the base model allows it",
            )


def _machine_conflicts(machine: Machine) -> Conflicts:
    if machine.gpus_per_node % machine.vllm_engines:
        yield ("machine", "vllm_engines"), f"must divide gpus_per_node = {machine.gpus_per_node}"
    if machine.vllm_sleep and machine.zero_stage == 0:
        yield (
            ("machine", "zero_stage"),
            "must be 1, 2 or 3 with vllm_sleep: OpenRLHF cannot move the training state off the GPU with 0",
        )
    if machine.flash_attention and machine.device == "cpu":
        yield ("machine", "flash_attention"), "must be false on a CPU; flash-attn needs machine.device: gpu"


def _benchmark_conflicts(experiment: Experiment) -> Conflicts:
    if not experiment.benchmarks:
        yield ("benchmarks",), "is empty; add at least one benchmark"
    seen: dict[str, str] = {}
    for name, benchmark in experiment.benchmarks.items():
        if not _NAME.fullmatch(name) or name in _RESERVED:
            yield (
                ("benchmarks", name),
                f"is not a valid benchmark name: use only a-z, 0-9 and _, and none of {', '.join(_RESERVED)}",
            )
        if benchmark.data in (experiment.data.train, experiment.data.development):
            yield ("benchmarks", name, "data"), "is also used to train or select models; choose another test set"
        for key in ("data", "title"):
            other = seen.setdefault(getattr(benchmark, key), name)
            if other != name:
                yield ("benchmarks", name, key), f"is also used by benchmark {other}; each benchmark needs its own"
        for control in experiment.controls_of(benchmark):
            if f"{name}_{control}" in experiment.benchmarks:
                yield (
                    ("benchmarks", f"{name}_{control}"),
                    f"is already the name of {name}'s control {control}; choose another name",
                )


def _name_conflicts(name: str, experiment: Experiment) -> Conflicts:
    """Yield what is wrong with an arm's name."""
    if not _NAME.fullmatch(name) or name == "base":
        yield ("arms", name), "is not a valid arm name: use only a-z, 0-9 and _, and not base"
    if name.endswith(DEV_SUFFIX) and name.removesuffix(DEV_SUFFIX) in experiment.arms:
        yield (
            ("arms", name),
            f"is already the name of {name.removesuffix(DEV_SUFFIX)}'s checkpoint selected on the development"
            " questions; choose another name",
        )


def _mode_conflicts(experiment: Experiment) -> Conflicts:
    for name, mode in experiment.modes.items():
        if not _NAME.fullmatch(name):
            yield ("modes", name), "is not a valid mode name: use only a-z, 0-9 and _"
        if mode.samples > 1 and (mode.answer_format == "loglikelihood" or mode.temperature == 0):
            yield (
                ("modes", name, "samples"),
                "must be 1 with temperature 0 or loglikelihood, because all samples would be the same",
            )
    asked: dict[tuple[str, ...], tuple[str, ...]] = {("base",): experiment.base.modes}
    asked |= {("arms", name): arm.modes for name, arm in experiment.arms.items()}
    asked |= {("external_models", name): checkpoint.modes for name, checkpoint in experiment.external_models.items()}
    for path, modes in asked.items():
        for mode_name in modes:
            if mode_name not in experiment.modes:
                renamed = " (constrained was renamed to loglikelihood in 0.2.0)" if mode_name == "constrained" else ""
                known = ", ".join(experiment.modes)
                yield (*path, "modes"), f"there is no mode {mode_name}; known modes: {known}{renamed}"
        if len(set(modes)) < len(modes):
            yield (*path, "modes"), "contains one value twice; each value may occur once"
    taken = {model.split("/")[0] for model in experiment.models()[: -len(experiment.external_models) or None]}
    for name in experiment.external_models:
        if not _NAME.fullmatch(name) or name in taken:
            yield (
                ("external_models", name),
                f"is not a valid model name: use only a-z, 0-9 and _, and none of {', '.join(sorted(taken))}",
            )


def _control_conflicts(experiment: Experiment) -> Conflicts:
    for name, arm in experiment.arms.items():
        mode = experiment.modes.get(arm.modes[0])
        if experiment.controls.sensitivity and isinstance(arm, RlvrArm) and mode and mode.answer_format != "tagged":
            yield (
                ("controls", "sensitivity"),
                f"needs a think block, but arm {name}'s first mode, {arm.modes[0]}, has answer_format:"
                f" {mode.answer_format}; put a tagged mode first, or set sensitivity to false",
            )

    yield from _waterfall_conflicts(experiment)


def _has_term(reward: str | Mapping[str, Any], term: str) -> bool:
    return reward == term if isinstance(reward, str) else term in reward


_ROLE_NEEDS: Mapping[Role, tuple[str, str, Callable[[Any], bool]]] = {
    "format_only": ("rlvr", "reward: format_only", lambda arm: arm.reward == "format_only"),
    "random": ("rlvr", "reward: random", lambda arm: _has_term(arm.reward, "random")),
    "majority": ("rlvr", "labels: majority", lambda arm: arm.labels == "majority"),
    "wrong_label": ("rlvr", "labels: wrong", lambda arm: arm.labels == "wrong"),
    "rft": ("sft", "targets: own_responses", lambda arm: arm.targets == "own_responses"),
}
"""Role in the waterfall -> the trainer and the setting of its arm, and whether an arm with this trainer has it."""


def _waterfall_conflicts(experiment: Experiment) -> Conflicts:
    rlvr = experiment.primary_arm("rlvr")
    if not experiment.controls.waterfall or rlvr is None:
        return
    mode = experiment.arms[rlvr].modes[0]
    if mode not in experiment.base.modes:
        yield (
            ("controls", "waterfall"),
            f"compares the base in {rlvr}'s first mode, {mode}; add this mode to base.modes",
        )
    for role, name in experiment.controls.roles.items():
        trainer, needed, has = _ROLE_NEEDS[role]
        arm = experiment.arms.get(name)
        if arm is None or arm.trainer != trainer or not has(arm):
            yield (
                ("controls", "waterfall_arms", role),
                f"must name an arm with trainer: {trainer} and {needed}; arms: {', '.join(experiment.arms)}",
            )
        elif mode not in arm.modes:
            yield (
                ("arms", name, "modes"),
                f"must contain {mode}, {rlvr}'s first mode, for controls.waterfall_arms.{role}",
            )


def _sampling_conflicts(experiment: Experiment) -> Conflicts:
    modes = experiment.sampled_models() if experiment.controls.samples else {}
    for model, name in modes.items():
        mode = experiment.modes.get(name)
        if mode and mode.answer_format == "loglikelihood":
            yield (
                ("controls", "samples"),
                f"cannot sample {model} in {name}, which generates nothing; put another mode first, or set it to null",
            )


def _arm_conflicts(arm: Arm, machine: Machine) -> Iterator[tuple[str, str]]:
    if len(set(arm.seeds)) < len(arm.seeds):
        yield "seeds", "contains one value twice; each value may occur once"
    if isinstance(arm, RlvrArm):
        responses = arm.prompts_per_update * arm.samples_per_prompt
        if responses % arm.train_batch_size:
            yield "train_batch_size", f"must divide prompts_per_update x samples_per_prompt = {responses}"
        if arm.advantage_estimator in _GROUPED and arm.samples_per_prompt == 1:
            yield (
                "samples_per_prompt",
                f"must be 2 or more: {arm.advantage_estimator} compares the responses to one prompt",
            )
        if arm.advantage_estimator in _GROUPED and arm.gamma != 1:
            yield (
                "gamma",
                f"must be 1 with {arm.advantage_estimator}, which gives every token of a response the same advantage",
            )
        if arm.importance_weights and arm.importance_weights[0] > arm.importance_weights[1]:
            yield "importance_weights", "must be the smallest weight and then the largest"
        key, batch, micros = "train_batch_size", arm.train_batch_size, ["rollout_micro_batch", "train_micro_batch"]
        gpus = machine.gpus_per_node * machine.nodes
    else:
        if len(set(arm.learning_rates)) < len(arm.learning_rates):
            yield "learning_rates", "contains one value twice; each value may occur once"
        key, batch, micros = "batch_size", arm.batch_size, ["sft_micro_batch"]
        gpus = machine.gpus_per_node
    for micro in micros:
        size = getattr(machine, micro)
        if batch % gpus or (batch // gpus) % min(size, batch // gpus):
            yield (
                key,
                f"cannot be divided among {gpus} GPUs in micro-batches of machine.{micro} = {size};"
                " change one of these three numbers",
            )


def _text_lengths(experiment: Experiment) -> Iterator[tuple[tuple[str, ...], int]]:
    evaluation = experiment.evaluation
    longest = max(
        (mode.max_tokens for mode in experiment.modes.values() if mode.answer_format != "loglikelihood"), default=1
    )
    yield ("evaluation", "prompt_max_tokens"), evaluation.prompt_max_tokens + longest
    if experiment.controls.sensitivity:
        yield ("controls", "sensitivity"), evaluation.prompt_max_tokens + longest + PROBE_TOKENS
    for name, arm in experiment.arms.items():
        if isinstance(arm, RlvrArm):
            yield ("arms", name, "prompt_max_tokens"), arm.prompt_max_tokens + arm.response_max_tokens
        else:
            yield ("arms", name, "max_tokens"), arm.max_tokens
