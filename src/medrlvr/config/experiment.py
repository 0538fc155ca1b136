"""The whole experiment: the paper's values as defaults, and the names of its runs, models and eval sets."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from medrlvr.config.arms import Arm, RlvrArm, SftArm
from medrlvr.config.base import Settings
from medrlvr.config.data import BaseModelSource, Benchmark, Contamination, Control, Data, Miniature
from medrlvr.config.evaluation import Evaluation, ExternalModel, Mode, Prompts
from medrlvr.config.machine import Machine

DEV_SUFFIX = "_dev"
"""Ends the name of a model that is an RLVR arm's best checkpoint on the development questions."""


GROUPS = ("benchmarks", "modes", "arms", "external_models")
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
        "direct": Mode(prompt="direct", answer_format="bare", max_tokens=8),
        "chain_of_thought": Mode(prompt="chain_of_thought", answer_format="tagged"),
        "loglikelihood": Mode(prompt="direct", answer_format="loglikelihood", max_tokens=1),
    }
    """How models can be asked; base, arms and checkpoints name those that they are. In an overlay, null removes one."""
    prompts: Prompts = Prompts()
    arms: dict[str, Arm] = {"sft": SftArm(trainer="sft"), "rlvr": RlvrArm(trainer="rlvr", reward="paper")}
    """What is trained, by a name of your choice. In an overlay, null removes one, and a new name adds one; with
    `extends: rlvr` in it, it has that arm's settings but for those that it names."""
    external_models: dict[str, ExternalModel] = {}
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
                trained += [f"{name}{DEV_SUFFIX}/seed{seed}" for seed in arm.seeds]
        return ["base", *trained, *self.external_models]

    def modes_of(self, model: str) -> tuple[str, ...]:
        """How `model`, one of `models()` or an arm, is asked; by the first it is judged."""
        if model == "base":
            return self.base.modes
        name = model.split("/")[0]
        if name in self.external_models:
            return self.external_models[name].modes
        return self.arms[name if name in self.arms else name.removesuffix(DEV_SUFFIX)].modes

    def eval_sets(self) -> dict[str, tuple[str, Control | None]]:
        """Every set of questions that models are asked -> its benchmark and, of its controls, which it is."""
        sets: dict[str, tuple[str, Control | None]] = {name: (name, None) for name in self.benchmarks}
        for name, benchmark in self.benchmarks.items():
            sets |= {f"{name}_{control}": (name, control) for control in benchmark.controls}
        return sets

    def eval_sets_of(self, model: str) -> dict[str, tuple[str, ...]]:
        """What `model` is asked in the end -> its modes: benchmarks in all of them, their controls in the first."""
        modes = self.modes_of(model)
        return {name: modes[:1] if control else modes for name, (_, control) in self.eval_sets().items()}

    def held_out(self) -> dict[str, str]:
        """What is held out from training -> its data set: the development questions and the benchmarks."""
        return {"development": self.data.development} | {name: one.data for name, one in self.benchmarks.items()}

    def titles(self) -> dict[str, str]:
        """As tables show them, by the names of `eval_sets()`."""
        return {
            name: self.benchmarks[benchmark].title + (f", {control.replace('_', ' ')}" if control else "")
            for name, (benchmark, control) in self.eval_sets().items()
        }

    def primary_arm(self, trainer: Literal["sft", "rlvr"]) -> str | None:
        """The arm that stands for the paper's: the first of its trainer, config.yaml's own before new ones."""
        return next((name for name, arm in self.arms.items() if arm.trainer == trainer), None)

    def template(self, mode: str) -> str:
        """The template file of a mode."""
        prompt = self.modes[mode].prompt
        return str(getattr(self.prompts, prompt)) if prompt in ("direct", "chain_of_thought") else prompt

    def overlay(self) -> dict[str, Any]:
        """Return all settings as an overlay of config.yaml: entries that are there and not here are null."""
        values, defaults = self.model_dump(mode="json"), Experiment()
        for group in GROUPS:
            values[group] = dict.fromkeys(getattr(defaults, group)) | values[group]
        return values
