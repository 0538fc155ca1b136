"""The shipped runs as one table of answers per model: only equal fingerprints are pooled; old grades are renewed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from medrlvr.config.design import ComparisonDesign, comparison_design
from medrlvr.config.experiment import Experiment
from medrlvr.data.evidence_checks import evidence_check
from medrlvr.evaluation.score import score_answers
from medrlvr.reference.fingerprints import comparable, grading_versions
from medrlvr.reference.runs import Part, Run
from medrlvr.runtime.files import read_parquet


@dataclass(frozen=True, slots=True)
class Pool:
    """The runs of one experiment that can be pooled.

    Attributes:
        part: the experiment.
        runs: shipped runs with equal fingerprints, the base included.
        excluded: shipped runs with others, and the names of the fingerprints that differ.
        absent: models that are not shipped.
        scores: model -> graded answers.
        questions: benchmark, question_id, stem, options, gold, cluster, repeats.
    """

    part: Part
    runs: Sequence[Run]
    excluded: Mapping[str, Sequence[str]]
    absent: Sequence[str]
    scores: Mapping[str, pd.DataFrame]
    questions: pd.DataFrame

    def models(self) -> dict[str, list[str]]:
        """Return each arm -> its pooled models, in the order of the seeds."""
        models: dict[str, list[str]] = {}
        for run in sorted(self.runs, key=lambda run: run.seed or 0):
            models.setdefault(run.arm, []).append(run.model)
        order = ["base", *self.part.experiment.arms]
        return dict(sorted(models.items(), key=lambda item: order.index(item[0])))

    def design(self) -> ComparisonDesign | None:
        """Return the comparison of base, SFT and RLVR in the modes that the claims need; None without base or RLVR."""
        models, whole = self.models(), comparison_design(self.part.experiment)
        if "base" not in models or whole.rlvr is None or whole.rlvr not in models:
            return None
        compared = ["base", *(arm for arm in (whole.sft, whole.rlvr) if arm in models)]
        first = {arm: (whole.primary(arm).mode,) for arm in compared}
        return replace(
            whole,
            models={arm: models[arm] for arm in compared},
            runs={arm: whole.runs[arm] for arm in compared},
            modes=first | {"base": first[whole.rlvr]},
            sft=whole.sft if whole.sft in models else None,
        )


def pool(part: Part, runs: Sequence[Run]) -> Pool | None:
    """Pool the shipped runs of an experiment; None if there are none."""
    shipped = [run for run in runs if run.record()]
    if not shipped:
        return None
    records = {run.model: run.record() or {} for run in shipped}
    questions = read_parquet(part.shipped / "questions.parquet")
    world = comparable({"world": questions["world"].iloc[0]}, part.experiment)["world"]
    excluded = find_unequal(records, world, part.experiment)
    kept = [run for run in shipped if run.model not in excluded]
    return Pool(
        part=part,
        runs=kept,
        excluded=excluded,
        absent=[run.model for run in runs if run.model not in records],
        scores={run.model: _scores(run, questions, records[run.model]) for run in kept},
        questions=questions,
    )


def find_unequal(records: Mapping[str, Mapping[str, Any]], world: str, experiment: Experiment) -> dict[str, list[str]]:
    """Return the models that cannot be pooled with the others, with the names of the fingerprints that differ.

    A run is compared with the most frequent fingerprint: of base and training code among all runs; of the grader among
    the runs of RLVR, which it has rewarded; of settings and reward among the runs of the same arm.

    Args:
        records: model -> its run.json.
        world: fingerprint of the world of the shipped questions.
        experiment: the experiment of the runs.
    """
    found = {model: comparable(record["fingerprints"], experiment) for model, record in records.items()}
    here = [model for model in found if found[model]["world"] == world]
    shared = {"world": world} | _most_frequent([found[model] for model in here], ("base", "pretraining", "training"))
    rewarded = _most_frequent([found[model] for model in here if "reward" in found[model]], ("grader",))
    unequal = {}
    for model, prints in found.items():
        alike = [found[other] for other in here if records[other]["arm"] == records[model]["arm"]]
        expected = shared | (rewarded if "reward" in prints else {}) | _most_frequent(alike, ("settings", "reward"))
        if names := [name for name, value in expected.items() if prints.get(name, value) != value]:
            unequal[model] = names
    return unequal


def _most_frequent(found: Sequence[Mapping[str, str]], names: Sequence[str]) -> dict[str, str]:
    """Return the most frequent value of each fingerprint; of equally frequent ones, the first."""
    counts = {name: Counter(one[name] for one in found if name in one) for name in names}
    return {name: count.most_common(1)[0][0] for name, count in counts.items() if count}


def _scores(run: Run, questions: pd.DataFrame, record: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return a run's graded answers; they are graded again if grader or evidence check have changed since."""
    answers = read_parquet(run.folder / "answers.parquet")
    if all(record["fingerprints"][name] == value for name, value in grading_versions().items()):
        return answers
    formats = {mode: settings.grader_format for mode, settings in run.part.experiment.modes.items()}
    stored = ["benchmark", "question_id", "mode", "sample", "response", "finish_reason", "response_tokens"]
    return score_answers(answers[stored], questions, formats, evidence_check("miniature"))
