"""What RLVR's gain consists of: one sentence for the first screen by the rule of docs/controls.md, and the tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medrlvr.config.design import DEPENDENCE
from medrlvr.report.controls import NO_BLOCK, NOT_MEASURED, claim_outcome
from medrlvr.report.overview import Difference, Finding, mode_words, signed
from medrlvr.runtime.files import read_json

TOTALS = ("gain", "gain_any", "least")
"""Rows of the waterfall that are not steps."""


def gain_values(
    files: Sequence[str | Path], verdict: Mapping[str, Any], findings: Mapping[str, Finding]
) -> dict[str, Any]:
    """Return the waterfall and the sentence about the first benchmark; both None if it was not measured.

    Args:
        files: waterfall.json and, if pass@k was measured, samples.json; or none.
        verdict: claims.json.
        findings: benchmark -> its results, the first benchmark of the report first.
    """
    if not files:
        return {"waterfall": None, "explanation": None}
    waterfall, *others = map(read_json, files)
    lead = next(iter(findings))
    steps = [row for row in waterfall["steps"] if row["benchmark"] == lead]
    claims = [claim_outcome(row) for row in verdict["claims"] if (row["claim"], row["benchmark"]) == (DEPENDENCE, lead)]
    found = [
        row["finding"]
        for one in others
        for row in one["rlvr_minus_base"]
        if row["benchmark"] == lead and row["reading"] == "lenient_correct" and row["finding"]
    ]
    over_rft = [
        Difference(*(row[name] for name in ("rlvr_minus", "rlvr_low", "rlvr_high")))
        for row in waterfall["arms"]
        if (row["benchmark"], row["role"]) == (lead, "rft")
    ]
    limits = (next(iter(claims), None), next(iter(found), None), next(iter(over_rft), None))
    sentence = explain_gain(findings[lead], steps, *limits)
    return {"waterfall": waterfall, "explanation": sentence}


def explain_gain(
    finding: Finding,
    steps: Sequence[Mapping[str, Any]],
    dependence: str | None,
    repeated: str | None,
    over_rft: Difference | None,
) -> str:
    """Return what the gain consists of in one sentence of at most 25 words, by the least flattering reading.

    Args:
        finding: the results on the benchmark.
        steps: the waterfall's rows of the benchmark.
        dependence: outcome of the claim that answers depend on the chain of thought, as `claim_outcome` returns it;
            None if the control did not run.
        repeated: the finding of pass@k with true steps at the largest k; None if it was not measured.
        over_rft: RLVR minus the arm that is fine-tuned on the base's own right responses, by any readable letter; None
            if there is no such arm.
    """
    rows = {row["step"]: row for row in steps}
    gain, any_letter, least = (Difference(*(rows[name][key] for key in ("value", "low", "high"))) for name in TOTALS)
    if gain.high < 0 or any_letter.high < 0:
        worse, reading = (any_letter, "any readable answer") if any_letter.high < 0 else (gain, "the required format")
        return f"RLVR is worse than its base: by {reading}, the difference is {worse} points."
    if any_letter.low <= 0:
        found = "The gain is format" if gain.low > 0 else "No gain was found"
        return f"{found}: by any readable answer, the difference is {any_letter} points."
    if gain.low <= 0:
        return f"No gain was found: by the required format, the difference is {gain} points."
    over_best = finding.rlvr.any_letter - finding.best.any_letter
    if over_best <= 0:
        best = f"the base's best mode, {mode_words(finding.best.mode)}: {signed(over_best)}"
        return f"RLVR gains {signed(gain.difference)} points, but none over {best}."
    before = [row for row in steps if row["step"] not in (*TOTALS, "rest")]
    largest = max(before, key=lambda row: float(row["value"]))
    start = f"Of RLVR's {signed(gain.difference)} points,"
    if largest["value"] > 0:
        start += f" {signed(largest['value'])} come from {largest['name']};"
    if least.low <= 0:
        return f"{start} what remains, {least}, is not shown to exceed zero."
    return f"{start} {least} remain{_limit('spurious' in rows, dependence, repeated, over_rft)}."


def _limit(spurious: bool, dependence: str | None, repeated: str | None, over_rft: Difference | None) -> str:
    """Return what limits the meaning of what remains: the first that applies, the least flattering first."""
    limits = [
        (dependence == "contradicted", "but most answers ignore the chain of thought"),
        (dependence == NO_BLOCK, "but no think block could be changed"),
        (over_rft is not None and over_rft.high < 0, "but rejection sampling gains more"),
        (repeated == "the base solves more", "but the base solves more with repeated samples"),
        (over_rft is not None and over_rft.low <= 0, "but rejection sampling may gain as much"),
        (not spurious, "but spurious rewards were not tested"),
        (dependence in (None, NOT_MEASURED), "but reasoning was not tested"),
        (dependence == "undecided", "but dependence on the reasoning is undecided"),
        (repeated == "open", "but repeated samples of the base may suffice"),
    ]
    return next((f", {text}" for applies, text in limits if applies), "; answers depend on the chain of thought")
