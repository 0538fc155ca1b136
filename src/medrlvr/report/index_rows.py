"""Rows of the index: one for each folder in results/, whatever it contains."""

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from medrlvr.config.design import ComparisonDesign, System, comparison_design
from medrlvr.config.experiment import Experiment
from medrlvr.config.results_version import check_version
from medrlvr.report.cost import read_jobs
from medrlvr.report.experiments import flat_settings, question_hashes, read_experiment, stage_rows
from medrlvr.report.figures.style import STAGE_NAMES
from medrlvr.report.folder_state import FolderState, is_finished, read_state
from medrlvr.report.overview import Difference, mode_words
from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.files import read_json

LONGEST = 400
"""Maximum characters of a text from a results folder."""

FEW_SEEDS = 3
"""With fewer training seeds, an interval covers only the choice of questions."""

_EXPERIMENT = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Gain:
    """RLVR minus another model on one test, by both readings of the answers."""

    test: str
    required_format: Difference
    any_letter: Difference


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a finished experiment.

    Attributes:
        over_sft: RLVR minus SFT, one for each test, tests in distribution first.
        over_base: RLVR minus the base model in RLVR's mode, in the same order.
        warnings: what a reader must know before using the numbers.
        stages: `<arm>/seed<n>` of RLVR -> its bands (stage, first, last).
        facts: label -> text of each result, for the comparison of two experiments.
    """

    over_sft: Sequence[Gain]
    over_base: Sequence[Gain]
    warnings: Sequence[str]
    stages: Mapping[str, Sequence[Mapping[str, Any]]]
    facts: Mapping[str, str]


NO_RESULTS = Results((), (), (), {}, {})


@dataclass(frozen=True, slots=True)
class Row:
    """One folder in results/.

    Attributes:
        name: name of the folder.
        title: the experiment's title; the folder's name if it is unknown.
        state: see `FolderState`.
        seeds: arm -> training seeds.
        results: results of a finished experiment.
        seconds: wall time of all jobs together; None if unknown.
        gpu_hours: GPU-hours of all jobs together; None if unknown.
        settings: key -> value as JSON. An unfinished experiment has those of the trainings that saved a model.
        page: address of the report relative to the index; None without a report.
    """

    name: str
    title: str
    state: FolderState
    seeds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    results: Results = NO_RESULTS
    seconds: float | None = None
    gpu_hours: float | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    page: str | None = None


def read_rows(root: Path) -> list[Row]:
    """Return one row for each experiment in a folder, the latest first. A folder that cannot be read is `broken`.

    Hidden files are left out, and files whose names cannot be an experiment's, such as comparison.html.

    Args:
        root: the folder results/.

    Raises:
        OSError: `root` cannot be read.
    """
    listed = [path for path in root.iterdir() if path.name[0] != "." and _may_be_experiment(path)]
    return sorted(map(read_row, listed), key=lambda row: (-row.state.date, row.name))


def _may_be_experiment(path: Path) -> bool:
    return not path.is_file() or bool(_EXPERIMENT.fullmatch(path.name))


def read_row(folder: Path) -> Row:
    """Return the row of one folder; a `broken` one with the reason if the folder cannot be read."""
    try:
        _check(folder)
        return _finished_row(folder) if is_finished(folder) else _unfinished_row(folder)
    except Interrupted:
        raise
    except Exception as error:  # a folder may contain anything
        return Row(folder.name, folder.name, FolderState("broken", _short(_reason(error, folder)), _date(folder)))


def _check(folder: Path) -> None:
    """Check that this version of medrlvr wrote a folder.

    Raises:
        UserError: it did not.
        OSError: the folder cannot be read.
    """
    if folder.is_symlink() and not folder.exists():
        raise UserError("This is a symbolic link that leads to no folder. Correct or delete it.")
    if not folder.is_dir():
        raise UserError("This is a file. An experiment is a folder. Move the file away.")
    if not os.listdir(folder):
        raise UserError("The folder is empty. Delete it, or start an experiment with this name.")
    check_version(folder)
    if not (folder / "version.json").is_file():
        raise UserError("The folder contains no version.json, so medrlvr did not write it. Move it away.")


def _reason(error: Exception, folder: Path) -> str:
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        file = error.filename or folder
        return f"{file}: {error.strerror}. Make the file or folder accessible to you."
    again = "Start the experiment again, or move the folder away."
    return f"A file does not have the expected content ({type(error).__name__}: {error}). {again}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def _date(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _finished_row(folder: Path) -> Row:
    experiment = read_experiment(folder)
    design = comparison_design(experiment)
    seeds = {name: arm.seeds for name, arm in experiment.arms.items()}
    cost = _cost(folder, experiment)
    return Row(
        name=folder.name,
        title=_short(experiment.title),
        state=read_state(folder),
        seeds=seeds,
        results=_results(folder, experiment, design, [] if cost else ["the files in benchmarks/ cannot be read"]),
        seconds=cost[0] if cost else None,
        gpu_hours=cost[1] if cost else None,
        settings={name: _short(value) for name, value in flat_settings(experiment.model_dump(mode="json")).items()},
        page=f"{quote(os.fsencode(folder.name))}/report.html",
    )


def _unfinished_row(folder: Path) -> Row:
    cost = _cost(folder, None)
    return Row(
        name=folder.name,
        title=folder.name,
        state=read_state(folder),
        seeds=_started_seeds(folder),
        seconds=cost[0] if cost else None,
        settings={name: _short(value) for name, value in _trained_settings(folder).items()},
    )


def _started_seeds(folder: Path) -> dict[str, list[int]]:
    found: dict[str, set[int]] = {}
    for path in (folder / "logs/checkpoints").glob("*/seed*"):
        if number := re.match(r"seed(\d+)", path.name):
            found.setdefault(path.parent.name, set()).add(int(number[1]))
    return {arm: sorted(seeds) for arm, seeds in sorted(found.items())}


def _trained_settings(folder: Path) -> dict[str, str]:
    """Return the settings of each arm that saved a model. config.yaml is written with the report."""
    found: dict[str, str] = {}
    for arm in sorted((folder / "checkpoints").glob("*")):
        file = next(iter(sorted(arm.glob("seed*/*/training.yaml"))), None)
        if file is not None:
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
            own = {name: value for name, value in values.items() if name not in ("seed", "learning_rate")}
            found |= flat_settings(own, f"arms.{arm.name}")
    return found


def _cost(folder: Path, experiment: Experiment | None) -> tuple[float, float] | None:
    """Return the wall time of all jobs in seconds, and their GPU-hours; None if it is unknown."""
    gpus: dict[str, Any] = {}
    if experiment is not None:
        machine = experiment.machine
        training = {name: machine.training_gpus(arm) for name, arm in experiment.arms.items()}
        gpus = {"training_gpus": training, "asking_gpus": machine.engine_gpus}
    jobs = read_jobs(folder / "benchmarks", **gpus)
    if len(jobs) and jobs["seconds"].isna().any():
        return None
    return (float(jobs["seconds"].sum()), float(jobs["gpu_hours"].sum())) if len(jobs) else None


def _results(folder: Path, experiment: Experiment, design: ComparisonDesign, warnings: list[str]) -> Results:
    compared = read_json(folder / "compare/comparisons.json")
    tests = sorted(experiment.benchmarks, key=lambda name: design.distributions[name] != "in")
    titles = {name: _short(experiment.benchmarks[name].title) for name in tests}
    over = {"SFT": _gains(compared["pairs"], design, titles, "sft"), "base": _gains(compared["pairs"], design, titles)}
    runs = stage_rows(folder, experiment)
    return Results(
        over_sft=over["SFT"],
        over_base=over["base"],
        warnings=[*_warnings(experiment, design, compared["controls"], titles, runs), *warnings],
        stages={run["run"]: run["bands"] for run in runs},
        facts={
            **dict(_accuracies(compared["arms"], question_hashes(folder), design, titles)),
            **dict(fact for other, gains in over.items() for fact in _gain_facts(other, gains)),
            **{f"Stages of {run['run']}": describe_bands(run["bands"]) for run in runs},
        },
    )


def _gains(
    pairs: Sequence[Mapping[str, Any]], design: ComparisonDesign, titles: Mapping[str, str], trained: str | None = None
) -> list[Gain]:
    """Return RLVR minus SFT in their primary modes (`trained`), or minus the base model in RLVR's primary mode."""
    if design.rlvr is None or (trained and design.sft is None):
        return []
    rlvr = design.primary(design.rlvr)
    other = design.primary(str(design.sft)) if trained else System("base", rlvr.mode)
    found = {
        pair["benchmark"]: pair
        for pair in pairs
        if [System(pair[side]["arm"], pair[side]["mode"]) for side in ("first", "second")] == [rlvr, other]
    }
    return [
        Gain(title, _difference(found[name]), _difference(found[name]["any_letter"]))
        for name, title in titles.items()
        if name in found
    ]


def _difference(record: Mapping[str, Any]) -> Difference:
    ends = record["interval_95"]
    values = [float(value) for value in (record["difference"], ends["low"], ends["high"])]
    if not all(map(math.isfinite, values)):
        raise UserError("compare/comparisons.json contains a difference that is not a number. Delete it and run again.")
    return Difference(*values)


def _gain_facts(other: str, gains: Sequence[Gain]) -> Iterator[tuple[str, str]]:
    for gain in gains:
        yield f"{gain.test}: RLVR minus {other}, required format", str(gain.required_format)
        yield f"{gain.test}: RLVR minus {other}, any readable answer", str(gain.any_letter)


def _accuracies(
    arms: Sequence[Mapping[str, Any]],
    questions: Mapping[str, str],
    design: ComparisonDesign,
    titles: Mapping[str, str],
) -> Iterator[tuple[str, str]]:
    """Yield for each test its questions, and the accuracies of base, SFT and RLVR in percent."""
    for name, title in titles.items():
        own = [row for row in arms if row["benchmark"] == name]
        yield f"{title}: questions (SHA-256)", f"{own[0]['n']} ({questions[name]})"
        for row in own:
            if (row["arm"], row["mode"]) in _paper_arms(design):
                label = f"{title}: {row['arm']}, {mode_words(row['mode'])}, percent correct"
                yield label, f"{100 * row['accuracy']:.1f}"


def _paper_arms(design: ComparisonDesign) -> list[tuple[str, str]]:
    """Return the arms that answer the paper's question, each with its primary mode."""
    trained = [(arm, design.modes[arm][0]) for arm in (design.sft, design.rlvr) if arm]
    base = dict.fromkeys(("base", mode) for _, mode in trained if mode in design.modes["base"])
    return [*base, *trained]


def _warnings(
    experiment: Experiment,
    design: ComparisonDesign,
    controls: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str],
    runs: Sequence[Mapping[str, Any]],
) -> Iterator[str]:
    if not experiment.claims:
        yield "a trial run: its accuracies support no claim"
    fewest = min((len(arm.seeds) for arm in experiment.arms.values()), default=FEW_SEEDS)
    if fewest < FEW_SEEDS:
        yield f"only {fewest} training seed{'s' if fewest > 1 else ''}"
    rlvr = design.models[design.rlvr] if design.rlvr else ()
    for row in controls:
        if row["control"] == "shuffled" and row["model"] in rlvr and row["high"] < 0 and row["benchmark"] in titles:
            points = f"{100 * row['difference']:+.1f} points with shuffled options"
            yield f"{row['model']}: {points} ({titles[row['benchmark']]})"
    for run in runs:
        for indicator in dict.fromkeys(alarm["indicator"] for alarm in run["alarms"]):
            own = [alarm for alarm in run["alarms"] if alarm["indicator"] == indicator]
            text = f"{run['indicators'][indicator]} (updates {own[0]['since']} to {own[-1]['until']})"
            yield _short(f"reward hacking in {run['run']}: {text}")


def describe_bands(bands: Sequence[Mapping[str, Any]]) -> str:
    """Return the stages of a run with their updates, such as "format failure (1 to 17), ..."."""
    return ", ".join(f"{STAGE_NAMES[band['stage']].lower()} ({band['first']} to {band['last']})" for band in bands)
