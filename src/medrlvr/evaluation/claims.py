"""Assess whether the paper's claims hold here, by the rules that docs/claims.md fixed beforehand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign, System
from medrlvr.evaluation.statistics import Interval, hull, seed_interval, wilson_interval
from medrlvr.grading.self_verification import find_self_verification

MARGIN = 0.05
"""Smaller differences count as no difference: five points, fixed beforehand."""
LEAST_QUESTIONS = 100
"""Minimum number of questions; with fewer, every finding is "cannot tell"."""
REASONED_CHARS = 40
"""Minimum characters of reasoning, about one clause, before the answer is first named."""
RARE = 0.02
"""Self-verification in a smaller fraction of responses than this counts as none."""

Finding = Literal["yes", "no", "cannot tell"]
WORDS: dict[bool, dict[Finding, str]] = {
    True: {"yes": "agrees", "no": "differs", "cannot tell": "cannot tell"},
    False: {"yes": "seen", "no": "not seen", "cannot tell": "cannot tell"},
}
"""Verdict for each finding in the paper's own experiment (True) and in any other (False)."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Evidence for one claim on one benchmark, in fractions and differences of fractions.

    Attributes:
        claim: the claim as a sentence.
        n: number of questions.
        value, low, high: the measured value, and its interval at `confidence`, which the rule uses.
        finding: result of the claim's rule.
        paper: the paper's figures: first and second (accuracies), first_sd and second_sd, their difference with low and
            high (95 %, from the two standard deviations); or a text.
        seeds: number of training seeds of each trained arm.
    """

    claim: str
    n: int
    value: float
    low: float
    high: float
    confidence: float
    finding: Finding
    paper: Mapping[str, float | str]
    seeds: Sequence[int]


def assess_claims(
    comparisons: Sequence[Mapping[str, Any]],
    scores: Mapping[str, pd.DataFrame],
    paper: pd.DataFrame,
    design: ComparisonDesign,
) -> list[dict[str, Any]]:
    """Return one record per claim and benchmark: benchmark, papers_experiment, verdict, and the fields of Evidence.

    A claim has no record if its models do not exist, or were not evaluated in its modes.

    Args:
        comparisons: as `compare_systems` returns them.
        scores: model -> answers with their grades.
        paper: assets/paper/figure3.csv, in percent.
        design: the compared systems; without an RLVR arm, no claim is assessed.
    """
    if design.rlvr is None:
        return []
    records = []
    for benchmark in design.benchmarks:
        here = [record for record in comparisons if record["benchmark"] == benchmark]
        figures = paper[paper["distribution"] == design.distributions[benchmark]].set_index(["system", "mode"])
        for evidence in _evidence(here, scores, figures, design, benchmark):
            finding = evidence.finding if design.claims and evidence.n >= LEAST_QUESTIONS else "cannot tell"
            records.append(
                {
                    **asdict(evidence),
                    "benchmark": benchmark,
                    "papers_experiment": design.papers,
                    "finding": finding,
                    "verdict": WORDS[design.papers][finding],
                }
            )
    return records


def _evidence(
    comparisons: Sequence[Mapping[str, Any]],
    scores: Mapping[str, pd.DataFrame],
    figures: pd.DataFrame,
    design: ComparisonDesign,
    benchmark: str,
) -> Iterator[Evidence]:
    assert design.rlvr is not None
    rlvr, sft = design.primary(design.rlvr), design.primary(design.sft) if design.sft else None
    for record in comparisons:
        first, second = (System(record[side]["arm"], record[side]["mode"]) for side in ("first", "second"))
        if first != rlvr or second not in (sft, System("base", rlvr.mode)):
            continue
        # The modes in the paper: direct for SFT, chain of thought for RLVR and the base.
        other = ("sft", "direct") if second == sft else ("base", "chain_of_thought")
        theirs = _papers_difference(figures, ("rlvr", "chain_of_thought"), other)
        value, n = float(record["difference"]), int(record["n"])
        seeds = [len(design.models[arm]) for arm in (first.arm, second.arm) if design.runs[arm]]
        if second == sft and design.distributions[benchmark] == "in":
            low, high = record["interval_90"]["low"], record["interval_90"]["high"]
            claim = "RLVR is as good as SFT in distribution"
            yield Evidence(claim, n, value, low, high, 0.9, equivalent(low, high), theirs, seeds)
        else:
            low, high = record["interval_95"]["low"], record["interval_95"]["high"]
            expected = (float(theirs["low"]), float(theirs["high"])) if design.papers else None
            claim = (
                "RLVR is better than SFT out of distribution" if second == sft else "RLVR is better than its base model"
            )
            yield Evidence(claim, n, value, low, high, 0.95, better(low, high, expected), theirs, seeds)
    tables = [scores[model] for model in design.models[rlvr.arm]]
    answers = [table[(table["benchmark"] == benchmark) & (table["mode"] == rlvr.mode)] for table in tables]
    for claim, share, bound, text in (
        ("RLVR reasons, without having been shown how", reasoned, 0.5, "shown by examples"),
        ("RLVR does not verify itself", verified, RARE, "none observed"),
    ):
        shares = [float(share(table).groupby(table["question_id"]).mean().mean()) for table in answers]
        n = answers[0]["question_id"].nunique()
        low, high = _share_interval(shares, n)
        finding = above(low, high, bound) if share is reasoned else above(1 - high, 1 - low, 1 - bound)
        yield Evidence(claim, n, float(np.mean(shares)), low, high, 0.95, finding, {"text": text}, [len(shares)])


def equivalent(low: float, high: float) -> Finding:
    """Assess equality: whether the interval is inside the margin, or entirely outside it."""
    if low > -MARGIN and high < MARGIN:
        return "yes"
    return "no" if low > MARGIN or high < -MARGIN else "cannot tell"


def better(low: float, high: float, expected: Interval | None) -> Finding:
    """Assess a gain.

    Args:
        expected: the paper's interval, which ours must overlap if the experiment is the paper's. None otherwise: an
            interval above zero is then enough, and a gain below the margin counts as none.
    """
    if expected is not None:
        if high < expected[0] or low > expected[1]:
            return "no"
        return "yes" if low > 0 else "cannot tell"
    if low > 0:
        return "yes"
    return "no" if high < MARGIN else "cannot tell"


def above(low: float, high: float, bound: float) -> Finding:
    """Assess a share: whether its interval is above the bound, or below it."""
    if low > bound:
        return "yes"
    return "no" if high < bound else "cannot tell"


def reasoned(answers: pd.DataFrame) -> pd.Series:
    """Return which answers have at least REASONED_CHARS characters of reasoning before the answer is first named."""
    named = answers["answer_named_at"].astype(float).fillna(answers["think_chars"])
    return answers["valid_format"] & (named >= REASONED_CHARS)


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
