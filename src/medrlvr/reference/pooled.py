"""The shipped runs as one table of answers per model: only equal fingerprints are pooled; old grades are renewed."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from medrlvr.config.design import ComparisonDesign, comparison_design
from medrlvr.data.miniature.evidence import check_evidence
from medrlvr.evaluation.score import score_answers
from medrlvr.grading.version import grader_version
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

    def design(self) -> ComparisonDesign | None:
        """Return the comparison design of the pooled runs; None without the base or without RLVR."""
        models: dict[str, list[str]] = {}
        for run in self.runs:
            models.setdefault(run.arm, []).append(run.model)
        whole = comparison_design(self.part.experiment)
        if "base" not in models or whole.rlvr not in models:
            return None
        return ComparisonDesign(
            models=models,
            runs={arm: whole.runs[arm] for arm in models},
            modes={arm: whole.modes[arm] for arm in models},
            sets=whole.sets,
            rlvr=whole.rlvr,
            sft=whole.sft if whole.sft in models else None,
            loglikelihood=whole.loglikelihood,
            distributions=whole.distributions,
            papers=whole.papers,
            claims=whole.claims,
        )


def pool(part: Part, runs: Sequence[Run]) -> Pool | None:
    """Pool the shipped runs of an experiment; None if there are none."""
    shipped = [run for run in runs if run.record()]
    if not shipped:
        return None
    records = {run.model: run.record() or {} for run in shipped}
    usual = _usual([record["fingerprints"] for record in records.values()])
    excluded = {
        model: names
        for model, record in records.items()
        if (names := [name for name, value in usual.items() if record["fingerprints"].get(name, value) != value])
    }
    questions = read_parquet(part.shipped / "questions.parquet")
    kept = [run for run in shipped if run.model not in excluded]
    return Pool(
        part=part,
        runs=kept,
        excluded=excluded,
        absent=[run.model for run in runs if run.model not in records],
        scores={run.model: _scores(run, questions, records[run.model]) for run in kept},
        questions=questions,
    )


def _usual(found: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the most frequent fingerprint of what all runs share: world, base and the code that trains."""
    names = ("world", "base", "training")
    counts = {name: Counter(one[name] for one in found if name in one) for name in names}
    return {name: count.most_common(1)[0][0] for name, count in counts.items() if count}


def _scores(run: Run, questions: pd.DataFrame, record: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Return a run's graded answers; they are graded again if the grader has changed since."""
    answers = read_parquet(run.folder / "answers.parquet")
    if record["fingerprints"]["grader"] == grader_version():
        return answers
    formats = {mode: settings.grader_format for mode, settings in run.part.experiment.modes.items()}
    stored = ["benchmark", "question_id", "mode", "sample", "response", "finish_reason", "response_tokens"]
    return score_answers(answers[stored], questions, formats, check_evidence)
