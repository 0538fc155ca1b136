"""The whole experiment: the paper's values as defaults, and the names of its models and eval sets."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator

from medrlvr.config.arms import Arm, RlvrArm, SftArm
from medrlvr.config.base import Settings
from medrlvr.config.controls import MAJORITY_SAMPLES, Controls
from medrlvr.config.data import BaseModelSource, Benchmark, Calculations, Contamination, Control, Data, Miniature
from medrlvr.config.evaluation import Evaluation, ExternalModel, Mode, Prompts
from medrlvr.config.machine import Machine

DEV_SUFFIX = "_dev"
"""Suffix of an RLVR arm's name for its checkpoint that is best on the development questions."""


GROUPS = ("benchmarks", "modes", "arms", "external_models")
"""Settings with named entries, which an overlay may add, change and remove."""


def _rlvr_arms(arms: Mapping[str, Arm]) -> dict[str, RlvrArm]:
    return {name: arm for name, arm in arms.items() if isinstance(arm, RlvrArm)}


class Experiment(Settings):
    """All settings of an experiment."""

    experiment: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")] = "med_rlvr"
    """Name of the folder under results/. Change it to keep the results of several configurations."""
    title: str = "Med-RLVR: Qwen2.5-3B on MedQA"
    """Title of the report."""
    about: str = ""
    """Introduction of the report: what readers need to know about model and data."""
    claims: bool = True
    """If false, the report states that the accuracies support no claim. Use it for trial runs."""
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
    """Paper. Test sets on which every model is evaluated. In an overlay, null removes an entry."""
    modes: dict[str, Mode] = {
        "direct": Mode(prompt="direct", answer_format="bare", max_tokens=8),
        "chain_of_thought": Mode(prompt="chain_of_thought", answer_format="tagged"),
        "loglikelihood": Mode(prompt="direct", answer_format="loglikelihood", max_tokens=1),
    }
    """Evaluation modes. The base, each arm and each external model list the modes that they use. In an overlay, null
    removes an entry."""
    prompts: Prompts = Prompts()
    arms: dict[str, Arm] = {"sft": SftArm(trainer="sft"), "rlvr": RlvrArm(trainer="rlvr", reward="paper")}
    """Training arms, under names of your choice. In an overlay, a new name adds an arm and null removes one. An arm
    with `extends: rlvr` has the settings of rlvr, except those that it sets itself."""
    external_models: dict[str, ExternalModel] = {}
    """Ours: other models to evaluate, under names of your choice: `update40: {path: results/.../update40}`."""
    evaluation: Evaluation = Evaluation()
    controls: Controls = Controls()
    machine: Machine = Machine()
    miniature: Miniature = Miniature()
    calculations: Calculations = Calculations()

    @field_validator(*GROUPS, mode="before")
    @classmethod
    def _in_order_and_null_removes(cls, entries: Any, info: ValidationInfo) -> Any:
        # An overlay is merged over config.yaml key by key, so it needs a way to remove an entry.
        if not isinstance(entries, dict):
            return entries
        # Snakemake puts an overlay's new entries before those of config.yaml, but the first arm must be the paper's.
        known = dict.fromkeys(name for name in cls.model_fields[str(info.field_name)].default if name in entries)
        return {name: entry for name, entry in (known | entries).items() if entry is not None}

    @field_validator("arms")
    @classmethod
    def _own_responses_fit(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        # Only the RLVR arm determines how long the responses are that the base samples.
        longest = max((arm.prompt_max_tokens + arm.response_max_tokens for arm in _rlvr_arms(arms).values()), default=0)
        return {
            name: arm.model_copy(update={"max_tokens": max(arm.max_tokens, longest)})
            if isinstance(arm, SftArm) and arm.targets == "own_responses"
            else arm
            for name, arm in arms.items()
        }

    def models(self) -> list[str]:
        """Return all evaluated models: base, <arm>/seed<n>, for RLVR also <arm>_dev/seed<n>, and external models.

        For RLVR, `<arm>` is the last checkpoint, as in the paper, and `<arm>_dev` the best one on the development
        questions. The names of base and trained models are folders in `models/`.
        """
        trained = []
        for name, arm in self.arms.items():
            trained += [f"{name}/seed{seed}" for seed in arm.seeds]
            if isinstance(arm, RlvrArm):
                trained += [f"{name}{DEV_SUFFIX}/seed{seed}" for seed in arm.seeds]
        return ["base", *trained, *self.external_models]

    def modes_of(self, model: str) -> tuple[str, ...]:
        """Return the evaluation modes of `model`, one of `models()` or an arm; the first is the primary mode."""
        if model == "base":
            return self.base.modes
        name = model.split("/")[0]
        if name in self.external_models:
            return self.external_models[name].modes
        return self.arms[name if name in self.arms else name.removesuffix(DEV_SUFFIX)].modes

    def eval_sets(self) -> dict[str, tuple[str, Control | None]]:
        """Return every eval set -> its benchmark and, for a control, which control."""
        sets: dict[str, tuple[str, Control | None]] = {name: (name, None) for name in self.benchmarks}
        for name, benchmark in self.benchmarks.items():
            sets |= {f"{name}_{control}": (name, control) for control in self.controls_of(benchmark)}
        return sets

    def controls_of(self, benchmark: Benchmark) -> tuple[Control, ...]:
        """Return the controls of a benchmark: those that it lists, and the shifts that are requested for all."""
        shifts = [control for control in get_args(Control) if control.startswith("shift_")]
        added = [*shifts[: self.controls.shifts], "key_replaced", "none_of_the_above"] if self.controls.shifts else []
        return tuple(dict.fromkeys([*benchmark.controls, *added]))

    def eval_sets_of(self, model: str) -> dict[str, tuple[str, ...]]:
        """Return the final eval sets of `model` -> modes: all modes for benchmarks, the first mode for controls."""
        modes = self.modes_of(model)
        return {name: modes[:1] if control else modes for name, (_, control) in self.eval_sets().items()}

    def held_out(self) -> dict[str, str]:
        """Return each held-out set, development and the benchmarks, -> its dataset/split."""
        return {"development": self.data.development} | {name: one.data for name, one in self.benchmarks.items()}

    def titles(self) -> dict[str, str]:
        """Return the name of every eval set in tables."""
        return {
            name: self.benchmarks[benchmark].title + (f", {control.replace('_', ' ')}" if control else "")
            for name, (benchmark, control) in self.eval_sets().items()
        }

    def primary_arm(self, trainer: Literal["sft", "rlvr"]) -> str | None:
        """Return the arm that represents the paper's: the first with this trainer, config.yaml's before new ones."""
        return next((name for name, arm in self.arms.items() if arm.trainer == trainer), None)

    def sampled_models(self) -> dict[str, str]:
        """Return the models that are sampled repeatedly (docs/controls.md) -> evaluation mode.

        These are the models of the first SFT and RLVR arm in their first mode, and the base in RLVR's. For RLVR, only
        the last checkpoint is sampled.
        """
        arms = [arm for trainer in ("sft", "rlvr") if (arm := self.primary_arm(trainer))]
        trained = {f"{arm}/seed{seed}": self.arms[arm].modes[0] for arm in arms for seed in self.arms[arm].seeds}
        return {"base": self.arms[arms[-1]].modes[0], **trained}

    def base_sampling(self, rows: Literal["majority", "own_responses"]) -> Mode:
        """Return how the base is sampled on the training questions for the rows of `controls/rows/`.

        majority: `MAJORITY_SAMPLES` responses to each question; own_responses: as many as RLVR draws in its training.
        """
        arm = next(iter(_rlvr_arms(self.arms).values()))
        drawn = arm.episodes * arm.samples_per_prompt
        return Mode(
            prompt="chain_of_thought",
            answer_format="tagged",
            max_tokens=arm.response_max_tokens,
            samples=MAJORITY_SAMPLES if rows == "majority" else drawn,
            temperature=arm.temperature,
        )

    def sampled_rows(self, rows: Literal["majority", "own_responses"]) -> int | None:
        """Return the number of training questions on which the base is sampled, from the start; None for all."""
        arms = _rlvr_arms(self.arms)
        used = [arm for arm in arms.values() if arm.labels == rows] or [next(iter(arms.values()))]
        limits = [arm.rows for arm in used]
        return None if None in limits else max(limit for limit in limits if limit is not None)

    def template(self, mode: str) -> str:
        """Return the template file of a mode."""
        prompt = self.modes[mode].prompt
        return str(getattr(self.prompts, prompt)) if prompt in ("direct", "chain_of_thought") else prompt

    def overlay(self) -> dict[str, Any]:
        """Return all settings as an overlay of config.yaml, with null for entries that are absent here."""
        values, defaults = self.model_dump(mode="json"), Experiment()
        for group in GROUPS:
            values[group] = dict.fromkeys(getattr(defaults, group)) | values[group]
        return values
