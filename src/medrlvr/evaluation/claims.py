"""Assess whether the paper's claims hold here, by the rules that docs/claims.md fixed beforehand."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign, System
from medrlvr.evaluation.statistics import Interval, hull, seed_interval, wilson_interval
from medrlvr.grading.reasoning import is_reasoned
from medrlvr.grading.self_verification import find_self_verification

MARGIN = 0.05
"""Smaller differences count as no difference: five points, fixed beforehand."""
LEAST_QUESTIONS = 100
"""Minimum number of questions; with fewer, every verdict is "undecided"."""
RARE = 0.02
"""Self-verification in a smaller fraction of responses than this counts as none."""

Verdict = Literal["contradicted", "undecided", "supported", "better than claimed"]
"""In order, the least favourable first."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured value, its interval at the claim's confidence, and the verdict of the claim's rule."""

    value: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ClaimEvidence:
    """Evidence for one claim on one benchmark, in fractions and differences of fractions.

    Attributes:
        claim: the claim as a sentence.
        n: number of questions.
        confidence: of the intervals.
        measured: by the required format; None if it could not be measured, which is undecided.
        any_letter: by any readable letter; None for a share of responses, which has one reading.
        paper: the paper's figures: first and second (accuracies), first_sd and second_sd, their difference with low and
            high (95 %, from the two standard deviations); or a text.
        seeds: number of training seeds of each trained arm.
        checked: whether the steps of the reasoning were checked; None for a claim that is not about them.
        outcome: the fact of a response that the claim counts, as the report's filters name it; None for other claims.
        unit: of the values: percent of responses, or points of a difference.
    """

    claim: str
    n: int
    confidence: float
    measured: Measured | None
    any_letter: Measured | None
    paper: Mapping[str, float | str]
    seeds: Sequence[int]
    checked: bool | None = None
    outcome: str | None = None
    unit: Literal["percent", "points"] = "percent"

    @property
    def verdict(self) -> Verdict:
        """The less favourable verdict of the two readings."""
        readings = [reading.verdict for reading in (self.measured, self.any_letter) if reading]
        return min(readings, key=get_args(Verdict).index, default="undecided")


def assess_claims(
    comparisons: Sequence[Mapping[str, Any]],
    scores: Mapping[str, pd.DataFrame],
    paper: pd.DataFrame,
    design: ComparisonDesign,
    controls: Mapping[str, Sequence[ClaimEvidence]] | None = None,
) -> list[dict[str, Any]]:
    """Return one record per claim and benchmark, as docs/metrics.md describes it.

    A claim has no record if its models do not exist, or were not evaluated in its modes.

    Args:
        comparisons: as `compare_systems` returns them.
        scores: model -> answers with their grades.
        paper: assets/paper/figure3.csv, in percent.
        design: the compared systems; without an RLVR arm, no claim is assessed.
        controls: benchmark -> evidence for claims of this project: those of the controls that ran, and early answers.
    """
    if design.rlvr is None:
        return []
    records = []
    for benchmark in design.benchmarks:
        here = [record for record in comparisons if record["benchmark"] == benchmark]
        figures = paper[paper["distribution"] == design.distributions[benchmark]].set_index(["system", "mode"])
        answers = _answers(scores, design, benchmark)
        added = controls.get(benchmark, ()) if controls else ()
        for evidence in (*_gains(here, figures, design, benchmark), *_shares(answers), *added):
            enough = design.claims and evidence.n >= LEAST_QUESTIONS
            verdict = evidence.verdict if enough else "undecided"
            records.append(_record(evidence, benchmark) | {"papers_experiment": design.papers, "verdict": verdict})
    return records


def _answers(scores: Mapping[str, pd.DataFrame], design: ComparisonDesign, benchmark: str) -> list[pd.DataFrame]:
    """Return the answers of each RLVR model in its primary mode."""
    assert design.rlvr is not None
    rlvr = design.primary(design.rlvr)
    tables = [scores[model] for model in design.models[rlvr.arm]]
    return [table[(table["benchmark"] == benchmark) & (table["mode"] == rlvr.mode)] for table in tables]


def _gains(
    comparisons: Sequence[Mapping[str, Any]], figures: pd.DataFrame, design: ComparisonDesign, benchmark: str
) -> Iterator[ClaimEvidence]:
    """Yield the claims about differences between RLVR and another model."""
    assert design.rlvr is not None
    rlvr, sft = design.primary(design.rlvr), design.primary(design.sft) if design.sft else None
    for record in comparisons:
        first, second = (System(record[side]["arm"], record[side]["mode"]) for side in ("first", "second"))
        if first != rlvr or second not in (sft, System("base", rlvr.mode)):
            continue
        # The modes in the paper: direct for SFT, chain of thought for RLVR and the base.
        other = ("sft", "direct") if second == sft else ("base", "chain_of_thought")
        theirs = _papers_difference(figures, ("rlvr", "chain_of_thought"), other)
        seeds = [len(design.models[arm]) for arm in (first.arm, second.arm) if design.runs[arm]]
        if second == sft and design.distributions[benchmark] == "in":
            claim, confidence, rule = "RLVR is as good as SFT in distribution", 0.9, equivalent
        else:
            expected = (float(theirs["low"]), float(theirs["high"])) if design.papers else None
            claim = (
                "RLVR is better than SFT out of distribution" if second == sft else "RLVR is better than its base model"
            )
            confidence, rule = 0.95, partial(better, expected=expected)
        measured, any_letter = (_measured(part, confidence, rule) for part in (record, record["any_letter"]))
        yield ClaimEvidence(claim, int(record["n"]), confidence, measured, any_letter, theirs, seeds, unit="points")


def _shares(answers: Sequence[pd.DataFrame]) -> Iterator[ClaimEvidence]:
    """Yield the claims about shares of RLVR's answers, of which there is one table per seed."""
    checked = all(steps_checked(table) for table in answers)
    for claim, share, rule, text, outcome, about_steps in (
        ("RLVR reasons, without having been shown how", reasoned, _MOST, "shown by examples", "reasoned", checked),
        ("RLVR does not verify itself", verified, _ALMOST_NONE, "none observed", "verified", None),
    ):
        n = answers[0]["question_id"].nunique()
        shares = [float(share(table).groupby(table["question_id"]).mean().mean()) for table in answers]
        low, high = _share_interval(shares, n)
        measured = Measured(float(np.mean(shares)), low, high, rule(low, high))
        yield ClaimEvidence(claim, n, 0.95, measured, None, {"text": text}, [len(shares)], about_steps, outcome)


def _measured(record: Mapping[str, Any], confidence: float, rule: Callable[[float, float], Verdict]) -> Measured:
    ends = record[f"interval_{round(100 * confidence)}"]
    return Measured(float(record["difference"]), ends["low"], ends["high"], rule(ends["low"], ends["high"]))


def _record(evidence: ClaimEvidence, benchmark: str) -> dict[str, Any]:
    fields = asdict(evidence)
    measured = fields.pop("measured") or dict.fromkeys(("value", "low", "high"))
    return {"benchmark": benchmark, **fields, **{name: measured[name] for name in ("value", "low", "high")}}


def equivalent(low: float, high: float) -> Verdict:
    """Assess equality: whether the interval is inside the margin, or entirely above or below it."""
    if low > -MARGIN and high < MARGIN:
        return "supported"
    if low > MARGIN:
        return "better than claimed"
    return "contradicted" if high < -MARGIN else "undecided"


def better(low: float, high: float, expected: Interval | None) -> Verdict:
    """Assess a gain.

    Args:
        expected: the paper's interval, which ours must overlap if the experiment is the paper's. None otherwise: an
            interval above zero is then enough, and a gain below the margin counts as none.
    """
    if expected is not None:
        if high < expected[0]:
            return "contradicted"
        if low > expected[1]:
            return "better than claimed"
    elif low <= 0 and high < MARGIN:
        return "contradicted"
    return "supported" if low > 0 else "undecided"


def above(low: float, high: float, bound: float) -> Verdict:
    """Assess a share that should be above a bound."""
    if low > bound:
        return "supported"
    return "contradicted" if high < bound else "undecided"


def below(low: float, high: float, bound: float) -> Verdict:
    """Assess a share that should be below a bound."""
    if high < bound:
        return "supported"
    return "contradicted" if low > bound else "undecided"


_MOST = partial(above, bound=0.5)
_ALMOST_NONE = partial(below, bound=RARE)


def steps_checked(answers: pd.DataFrame) -> bool:
    """Return whether the steps of these answers were checked against a world."""
    return "reasons" in answers and bool(answers["reasons"].notna().any())


def reasoned(answers: pd.DataFrame) -> pd.Series:
    """Return which answers reason, by `is_reasoned`."""
    checked = steps_checked(answers)
    steps = answers["reasons"].astype("boolean").fillna(False) if checked else [None] * len(answers)
    facts = zip(answers["valid_format"], steps, answers["answer_named_at"], answers["think_chars"], strict=True)
    shares = [
        is_reasoned(valid, reasons, None if pd.isna(named) else named, chars) for valid, reasons, named, chars in facts
    ]
    return pd.Series(shares, index=answers.index, dtype=bool)


def verified(answers: pd.DataFrame) -> pd.Series:
    """Return which answers contain self-verification, such as a check or a retraction."""
    return answers["response"].map(lambda response: bool(find_self_verification(response)))


def _papers_difference(
    figures: pd.DataFrame, first: tuple[str, str], second: tuple[str, str]
) -> dict[str, float | str]:
    """Return the paper's accuracies, and their difference with a 95 % interval, assuming independence."""
    accuracy, deviation = ((figures[name] / 100).to_dict() for name in ("accuracy", "sd"))
    one, one_sd, other, other_sd = accuracy[first], deviation[first], accuracy[second], deviation[second]
    width = 1.96 * math.hypot(one_sd, other_sd)
    return {
        "first": one,
        "first_sd": one_sd,
        "second": other,
        "second_sd": other_sd,
        "difference": one - other,
        "low": one - other - width,
        "high": one - other + width,
    }


def _share_interval(shares: Sequence[float], n: int) -> Interval:
    questions = wilson_interval(round(float(np.mean(shares)) * n), n)
    low, high = hull(questions, seed_interval(shares, 0.0, 0.95))
    return max(0.0, low), min(1.0, high)
