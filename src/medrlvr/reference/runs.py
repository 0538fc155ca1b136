"""The runs of the reference: which exist, which are missing, and in which order they run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from medrlvr.config.arms import Arm, RlvrArm, SftArm
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.runtime.files import read_json

REFERENCE = Path("docs/reference")
"""The shipped data."""
FIRST_SEEDS = 3
"""Seeds of the main arms that run before the other arms."""


@dataclass(frozen=True)
class Part:
    """One experiment of the reference.

    Attributes:
        name: of the experiment and of its overlay in config/, on top of config/miniature.yaml.
        results_root, shipped_root: folders of the results and of the shipped data.
    """

    name: str
    results_root: Path = Path("results")
    shipped_root: Path = REFERENCE

    @property
    def overlays(self) -> list[str]:
        """The configuration files of the experiment."""
        return ["config/miniature.yaml", f"config/{self.name}.yaml"]

    @cached_property
    def experiment(self) -> Experiment:
        """The settings of the experiment."""
        return read_overlays(self.overlays)

    @property
    def results(self) -> Path:
        """The results folder."""
        return self.results_root / self.name

    @property
    def shipped(self) -> Path:
        """The folder with the exported runs."""
        return self.shipped_root / self.name


@dataclass(frozen=True)
class Run:
    """One model of the reference: an arm and a seed, or the base."""

    part: Part
    arm: str
    seed: int | None

    @property
    def model(self) -> str:
        """The model's name, such as rlvr/seed1."""
        return self.arm if self.seed is None else f"{self.arm}/seed{self.seed}"

    @property
    def settings(self) -> Arm | None:
        """The settings of the arm; None for the base."""
        return self.part.experiment.arms.get(self.arm)

    @property
    def folder(self) -> Path:
        """The folder of the shipped run."""
        return self.part.shipped / self.model

    @property
    def is_first_seed(self) -> bool:
        """Whether the seed is the first one of the arm."""
        return self.settings is not None and self.seed == self.settings.seeds[0]

    @property
    def tables(self) -> dict[str, Path]:
        """Name of a shipped table -> its file in the results; the workflow makes these files."""
        results = self.part.results
        found = {"answers": results / "eval" / self.model / "scores.parquet"}
        if isinstance(self.settings, SftArm):
            (rate,) = self.settings.learning_rates  # chosen beforehand, on other seeds
            found["updates"] = results / "dynamics" / self.model / f"lr{rate!r}.parquet"
        if isinstance(self.settings, RlvrArm):
            found["updates"] = results / "dynamics" / f"{self.model}.parquet"
            if self.is_first_seed:
                found["rollouts"] = results / "rollouts" / self.model / "rollouts.parquet"
                found["responses"] = results / "dynamics" / self.model / "responses.parquet"
        return found

    @property
    def stages(self) -> Path | None:
        """The file with the stages of the run; None without RLVR."""
        if isinstance(self.settings, RlvrArm):
            return self.part.results / "dynamics" / self.model / "stages.json"
        return None

    @property
    def targets(self) -> list[Path]:
        """What the workflow has to make for this run."""
        return [*self.tables.values(), *([self.stages] if self.stages else [])]

    def record(self) -> dict[str, Any] | None:
        """Return the shipped record of this run, or None."""
        file = self.folder / "run.json"
        return read_json(file) if file.is_file() else None


PARTS = (Part("reference"), Part("reference_few"))
"""The experiments of the reference, the main one first."""


def all_runs(parts: Sequence[Part] = PARTS) -> list[Run]:
    """Return every run in the order in which they run.

    The main arms of the first part come first, with their first seeds; then all other arms; then the remaining seeds.
    """
    runs = [run for part in parts for run in _runs_of(part)]
    return sorted(runs, key=lambda run: _turn(run, run.part == parts[0]))


def _runs_of(part: Part) -> Iterator[Run]:
    yield Run(part, "base", None)
    for arm, settings in part.experiment.arms.items():
        for seed in settings.seeds:
            yield Run(part, arm, seed)


def _turn(run: Run, first: bool) -> tuple[int, int]:
    main, seed = run.arm in ("base", "sft", "rlvr"), run.seed or 0
    late = main and seed > FIRST_SEEDS
    return 2 if late else 0 if main and first else 1, seed
