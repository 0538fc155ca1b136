"""What is known before a run: question counts, the base model's size, free disk, missing files."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.config.experiment import Experiment
from medrlvr.data.miniature.loopholes import planted_sets
from medrlvr.data.registry import Source
from medrlvr.models.shape import Shape, known_shape
from medrlvr.pipeline.plan.jobs import Job
from medrlvr.training.disk import Weights, weights_in, weights_of
from medrlvr.training.memory.fit import shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known before the run.

    Attributes:
        train: number of training questions before removal; None if unknown.
        held_out: name of the development set or a benchmark -> number of questions, None if unknown.
        weights: size of the base model; None if it is not fetched and its shape is not listed.
        free: free disk, in bytes, where results are written.
        shape: shape of the base model; None if it is not fetched and not listed.
    """

    train: int | None
    held_out: Mapping[str, int | None]
    weights: Weights | None
    free: int
    shape: Shape | None = None


def gather_facts(experiment: Experiment, sources: Mapping[str, Source], results: Path, jobs: Sequence[Job]) -> Facts:
    """Return what is known about data, model and disk. Numbers of questions come from the registry and the settings.

    Args:
        experiment: the settings.
        sources: the registry of data sets.
        results: the experiment's folder, which may not exist yet.
        jobs: all jobs of the graph.
    """
    miniature = experiment.miniature
    generated = {
        "miniature/train": miniature.train,
        "miniature/dev": miniature.dev,
        "miniature/test": miniature.test,
        "miniature_options/test": miniature.options_test,
        "miniature_form/test": miniature.form_test,
        "miniature_pairs/test": miniature.pairs_test,
    }
    calculations = experiment.calculations
    generated |= {
        "calculations/train": calculations.train,
        "calculations/dev": calculations.dev,
        "calculations/test": calculations.test,
        "calculations_formulas/test": calculations.formulas_test,
        "calculations_ranges/test": calculations.ranges_test,
    }
    generated |= {name: generated[source] for name, source in planted_sets().items()}

    def count(name: str, rows: int | None) -> int | None:
        whole = generated.get(name, sources[name].rows)
        return whole if rows is None or whole is None else min(rows, whole)

    drawn = {"development": experiment.data.development_rows}
    drawn |= {name: benchmark.rows for name, benchmark in experiment.benchmarks.items()}
    return Facts(
        train=count(experiment.data.train, experiment.data.train_rows),
        held_out={name: count(source, drawn[name]) for name, source in experiment.held_out().items()},
        weights=_base_weights(experiment, results, jobs),
        free=shutil.disk_usage(next(folder for folder in (results, *results.parents) if folder.is_dir())).free,
        shape=shape_of(experiment.base, results / "models/base"),
    )


def _base_weights(experiment: Experiment, results: Path, jobs: Sequence[Job]) -> Weights | None:
    base = experiment.base
    fetched = results / "models/base"
    again = any(job.reason is not None and str(fetched) in job.outputs for job in jobs)
    folder = Path(base.name) if base.source in ("path", "embedded") else None if again else fetched
    if folder is not None and any(folder.glob("*.safetensors")):
        return weights_in(folder)
    shape = known_shape(base.name) if base.source == "hub" else None
    return weights_of(shape) if shape else None


def absent_files(jobs: Iterable[Job], sources: Mapping[str, Source], mirror: str | None) -> list[str]:
    """Describe the data files that cannot be fetched. It does not check what the Hugging Face Hub has.

    Args:
        jobs: all jobs of the graph.
        sources: the registry of data sets.
        mirror: the folder that is used instead of the Hub; None for the Hub.
    """
    fetched = [job for job in jobs if job.rule == "fetch_dataset" and job.reason is not None]
    found = []
    for source in (sources[f"{job.wildcards['dataset']}/{job.wildcards['split']}"] for job in fetched):
        file = Path(mirror or "").expanduser() / str(source.mirror_file)
        if mirror is not None and not file.is_file():
            found.append(f"{source.name}: {file}")
        elif mirror is None and source.home == "local":
            found.append(
                f"{source.name}: {source.mirror_file} in a mirror folder. The file is not on the Hugging Face Hub; set"
                " data.mirror or MEDRLVR_MIRROR."
            )
    return found
