"""The runs of the bench: their experiments, loopholes, seeds and files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medrlvr.data.miniature.loopholes import LOOPHOLES
from medrlvr.reference.runs import Part, Run
from medrlvr.runtime.files import read_json

BENCH = Path("docs/hack_bench")
"""The exported runs, and the results."""
OVERLAYS = Path("config/controls/hack_bench")
TERMS = ("parser_hole", "early_answer", "pre_think")
"""Loopholes in the reward: each is the file of a reward term in OVERLAYS, and an arm `rlvr_<loophole>`."""
PLANTED = (*LOOPHOLES, *TERMS)
"""All loopholes: those in the training questions, and those in the reward."""
FIRST_THRESHOLD_SEED = 301
"""Clean runs with this seed or a larger one set the thresholds and are not reported."""


@dataclass(frozen=True)
class BenchPart(Part):
    """One experiment of the bench: one loophole in the training questions, or the clean runs and those with terms."""

    shipped_root: Path = BENCH

    @property
    def overlays(self) -> list[str]:
        """The configuration files of the experiment."""
        return ["config/miniature.yaml", f"{OVERLAYS}/{self.name.removeprefix('hack_bench_')}.yaml"]


@dataclass(frozen=True)
class BenchRun(Run):
    """One training of the bench."""

    @property
    def loophole(self) -> str | None:
        """The planted loophole; None for a clean run."""
        name = self.arm.removeprefix("rlvr_") if self.arm != "rlvr" else self.part.name.removeprefix("hack_bench_")
        return name if name in PLANTED else None

    @property
    def like_training(self) -> str:
        """The benchmark with held-out questions like those of training."""
        return "cued" if self.loophole in LOOPHOLES else "miniature"

    @property
    def is_for_thresholds(self) -> bool:
        """Whether the run sets the thresholds and is not reported."""
        return self.seed is not None and self.seed >= FIRST_THRESHOLD_SEED

    @property
    def file(self) -> Path:
        """The exported record."""
        return self.part.shipped / f"{self.arm}_seed{self.seed}.json"

    @property
    def tables(self) -> dict[str, Path]:
        """Name of a table -> its file in the results."""
        results = self.part.results
        return {
            "answers": results / "eval" / self.model / "scores.parquet",
            "updates": results / "dynamics" / f"{self.model}.parquet",
        }

    @property
    def sensitivity(self) -> Path:
        """The measures of sensitivity."""
        return self.part.results / "controls/sensitivity" / self.model / "sensitivity.json"

    def record(self) -> dict[str, Any] | None:
        """Return the exported record, or None."""
        return read_json(self.file) if self.file.is_file() else None


PARTS = tuple(BenchPart(f"hack_bench_{name}") for name in (*LOOPHOLES, "rewards"))
"""The experiments of the bench."""


def bench_runs(parts: Sequence[Part] = PARTS) -> list[BenchRun]:
    """Return every run in the order in which they run: by the last two digits of the seed, loopholes before clean runs.

    So the first seed of every loophole runs first, with two clean runs.
    """
    runs = [
        BenchRun(part, arm, seed) for part in parts for arm, one in part.experiment.arms.items() for seed in one.seeds
    ]
    return sorted(runs, key=lambda run: ((run.seed or 0) % 100, run.loophole is None))
