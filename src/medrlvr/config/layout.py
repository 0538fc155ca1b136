"""Names of an experiment's runs and models, and the files in its results folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.experiment import DEV_SUFFIX, Experiment


@dataclass(frozen=True, slots=True)
class Layout:
    """The results folder of one experiment.

    A run is one training: `<arm>/seed<n>`, for SFT followed by `/lr<rate>` for each learning rate of the grid.
    """

    experiment: Experiment

    @property
    def results(self) -> Path:
        """The experiment's folder, relative to the repository's root."""
        return Path("results", self.experiment.experiment)

    @property
    def sft_arms(self) -> dict[str, SftArm]:
        """SFT arms by name."""
        return {name: arm for name, arm in self.experiment.arms.items() if isinstance(arm, SftArm)}

    @property
    def rlvr_arms(self) -> dict[str, RlvrArm]:
        """RLVR arms by name."""
        return {name: arm for name, arm in self.experiment.arms.items() if isinstance(arm, RlvrArm)}

    @property
    def trained(self) -> list[str]:
        """`<arm>/seed<n>` of every arm and seed."""
        return [f"{name}/seed{seed}" for name, arm in self.experiment.arms.items() for seed in arm.seeds]

    @property
    def sft_runs(self) -> list[str]:
        """Every SFT run, with its learning rate."""
        return [
            f"{name}/seed{seed}/lr{rate!r}"
            for name, arm in self.sft_arms.items()
            for seed in arm.seeds
            for rate in arm.learning_rates
        ]

    @property
    def rlvr_runs(self) -> list[str]:
        """Every RLVR run."""
        return [f"{name}/seed{seed}" for name, arm in self.rlvr_arms.items() for seed in arm.seeds]

    @property
    def papers_rlvr_runs(self) -> list[str]:
        """The runs of the RLVR arm that represents the paper's."""
        return [run for run in self.rlvr_runs if run.split("/")[0] == self.experiment.primary_arm("rlvr")]

    def training_rows(self, arm: str) -> str:
        """Return the file with the training rows of an arm."""
        settings = self.experiment.arms[arm]
        if isinstance(settings, RlvrArm):
            file = "prompts/rlvr" if settings.labels == "gold" else f"controls/rows/{settings.labels}"
        else:
            file = "prompts/sft" if settings.targets == "letter" else f"controls/rows/{settings.targets}"
        return str(self.results / f"{file}.jsonl")

    @property
    def paper_models(self) -> list[str]:
        """Models of the first seed of the paper's SFT and RLVR arms, for RLVR also the one selected on development."""
        arms = [arm for trainer in ("sft", "rlvr") if (arm := self.experiment.primary_arm(trainer))]
        names = [
            f"{arm}{suffix}/seed{self.experiment.arms[arm].seeds[0]}" for arm in arms for suffix in ("", DEV_SUFFIX)
        ]
        return [name for name in names if name in self.experiment.models()]

    @property
    def waterfall_models(self) -> list[str]:
        """Models that the waterfall compares: the base, the last RLVR checkpoints, and its control arms."""
        arms = {"base", self.experiment.primary_arm("rlvr"), *self.experiment.controls.roles.values()}
        return [model for model in self.experiment.models() if model.split("/")[0] in arms]

    @property
    def question_sets(self) -> list[str]:
        """The data sets that are read: training first, then development and the benchmarks."""
        return [self.experiment.data.train, *self.experiment.held_out().values()]

    @property
    def sample_sizes(self) -> dict[str, int | None]:
        """train, development and each benchmark -> number of questions drawn; None for all."""
        data = self.experiment.data
        return {"train": data.train_rows, "development": data.development_rows} | {
            name: benchmark.rows for name, benchmark in self.experiment.benchmarks.items()
        }

    def records(self, raw_files: Mapping[str, str]) -> list[str]:
        """Return small files, none in models/ or checkpoints/, that together require every step.

        Args:
            raw_files: data set -> its file in data/raw/.
        """
        rlvr, kept = self.rlvr_runs, self.experiment.evaluation.keep_checkpoints
        files = [
            *(f"data/raw/{raw_files[name]}" for name in self.question_sets),
            *(f"data/questions/{name}.parquet" for name in self.question_sets),
            *(f"data/{name}" for name in ("duplicates.parquet", "overlaps.parquet", "contamination.parquet")),
            "data/data_card.json",
            "prompts/rlvr.jsonl",
            "prompts/benchmarks.parquet",
            "base.json",
            *(f"dynamics/{run}.parquet" for run in [*self.sft_runs, *rlvr]),
            *(f"dynamics/{run}/{table}" for run in rlvr for table in ("responses.parquet", "stages.json")),
            *(f"rollouts/{run}/{table}.parquet" for run in rlvr for table in ("rollouts", "trainer")),
            *(f"checkpoint_eval/{run}/{table}.parquet" for run in rlvr for table in ("answers", "accuracy")),
            *(f"checkpoint_eval/{run}/deleted_weights.json" for run in rlvr if not kept),
            *(f"development/{run}/selection.json" for run in self.trained),
            *(
                f"eval/{model}/{table}"
                for model in self.experiment.models()
                for table in ("answers.parquet", "scores.parquet", "metrics.json")
            ),
            *(f"compare/{name}.json" for name in ("comparisons", "claims")),
            *(f"figures/{name}.csv" for name in ("accuracy", "dynamics", "training", "hacking")),
            *self._controls(),
        ]
        return [str(self.results / file) for file in files]

    def _controls(self) -> list[str]:
        """Return the files of the requested controls."""
        controls = self.experiment.controls
        sensitivity = [f"controls/sensitivity/{run}/sensitivity.json" for run in self.rlvr_runs]
        return [
            *([*sensitivity, "figures/sensitivity.csv"] if controls.sensitivity else []),
            *(["controls/samples/samples.json", "figures/samples.csv"] if controls.samples else []),
            *(["controls/formats/formats.json"] if controls.formats else []),
            *(["controls/waterfall/waterfall.json", "figures/waterfall.csv"] if controls.waterfall else []),
        ]
