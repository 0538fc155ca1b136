"""The sentence about what the gain consists of: each case of its rule, and its place in the report."""

from pathlib import Path
from typing import Any

import pages
import pytest
from evaluated import TAGGED, evaluate
from pages import EXPERIMENT, FIGURES

from medrlvr.config.design import DEPENDENCE
from medrlvr.report.gain import explain_gain, gain_values
from medrlvr.report.overview import Difference, Finding, Scored
from medrlvr.runtime.files import write_json

CLEAR = (0.05, 0.95)
ABOVE, AROUND, BELOW = (0.1, 0.3), (-0.05, 0.15), (-0.3, -0.1)


def scored(any_letter: float, mode: str = "chain_of_thought") -> Scored:
    return Scored("x", mode, any_letter, any_letter, None, None, 1)


def finding(best: float = 0.4) -> Finding:
    return Finding("T", "in", 300, 0.2, scored(0.3), scored(best, "direct"), None, scored(0.6), None, None)


def rows(**intervals: tuple[float, float]) -> list[dict[str, Any]]:
    """Return a waterfall of one benchmark: the value of a row is in the middle of its interval."""
    names = {
        "reading": "answer format", "format": "format training", "habits": "option habits",
        "spurious": "spurious rewards", "known": "known answers", "rest": "the rest",
    }  # fmt: skip
    given = {
        "reading": (0.2, 0.3), "format": (0.01, 0.03), "habits": (-0.02, 0.02), "spurious": (0.0, 0.04),
        "known": (0.01, 0.03), "rest": ABOVE, "gain": CLEAR, "gain_any": ABOVE, "least": ABOVE,
    } | intervals  # fmt: skip
    return [
        {"benchmark": "medqa", "step": step, "name": names.get(step, step), "arms": ["rlvr", "base"], "n": 300,
         "value": (low + high) / 2, "low": low, "high": high}
        for step, (low, high) in given.items()
    ]  # fmt: skip


WITHOUT_SPURIOUS = [row for row in rows() if row["step"] != "spurious"]
MERGED = [
    row | {"name": "format training and option habits", "value": 0.4} if row["step"] == "habits" else row
    for row in WITHOUT_SPURIOUS
]
REMAINS = "Of RLVR's +50.0 points, +25.0 come from answer format; +20.0 (+10.0 to +30.0) remain"


@pytest.mark.parametrize(
    ("steps", "dependence", "repeated", "expected"),
    [
        (rows(), "supported", "RLVR solves more", f"{REMAINS}; answers depend on the chain of thought."),
        (rows(), "supported", None, f"{REMAINS}; answers depend on the chain of thought."),
        (rows(), None, "RLVR solves more", f"{REMAINS}, but reasoning was not tested."),
        (rows(), "contradicted", "the base solves more",
         f"{REMAINS}, but most answers ignore the chain of thought."),
        (rows(), "supported", "the base solves more", f"{REMAINS}, but the base solves more with repeated samples."),
        (rows(), "no block", "the base solves more", f"{REMAINS}, but no think block could be changed."),
        (rows(), "not measured", None, f"{REMAINS}, but reasoning was not tested."),
        (rows(), "undecided", "open",
         f"{REMAINS}, but dependence on the reasoning is undecided."),
        (rows(), "supported", "open", f"{REMAINS}, but repeated samples of the base may suffice."),
        (WITHOUT_SPURIOUS, "supported", None, f"{REMAINS}, but spurious rewards were not tested."),
        (MERGED, "undecided", "RLVR solves more",
         "Of RLVR's +50.0 points, +40.0 come from format training and option habits; +20.0 (+10.0 to +30.0) remain, but"
         " spurious rewards were not tested."),
        (MERGED, None, None,
         "Of RLVR's +50.0 points, +40.0 come from format training and option habits; +20.0 (+10.0 to +30.0) remain, but"
         " spurious rewards were not tested."),
        (rows(least=AROUND), "supported", "RLVR solves more",
         "Of RLVR's +50.0 points, +25.0 come from answer format; what remains, +5.0 (-5.0 to +15.0), is not shown to"
         " exceed zero."),
        (rows(least=BELOW), "supported", None,
         "Of RLVR's +50.0 points, +25.0 come from answer format; what remains, -20.0 (-30.0 to -10.0), is not shown to"
         " exceed zero."),
        (rows(gain_any=AROUND), "supported", None,
         "The gain is format: by any readable answer, the difference is +5.0 (-5.0 to +15.0) points."),
        (rows(gain=AROUND, gain_any=AROUND), None, None,
         "No gain was found: by any readable answer, the difference is +5.0 (-5.0 to +15.0) points."),
        (rows(gain=AROUND), None, None,
         "No gain was found: by the required format, the difference is +5.0 (-5.0 to +15.0) points."),
        (rows(gain_any=BELOW), None, None,
         "RLVR is worse than its base: by any readable answer, the difference is -20.0 (-30.0 to -10.0) points."),
        (rows(gain=BELOW), None, None,
         "RLVR is worse than its base: by the required format, the difference is -20.0 (-30.0 to -10.0) points."),
    ],
)  # fmt: skip
def test_the_sentence_follows_from_the_files(
    steps: list[dict[str, Any]], dependence: str | None, repeated: str | None, expected: str
) -> None:
    found = explain_gain(finding(), steps, dependence, repeated, None)
    assert found == expected
    assert len(found.split()) <= 25


LONGEST = [
    row | {"name": "format training and option habits", "value": 0.4} for row in rows() if row["step"] != "reading"
]


@pytest.mark.parametrize("dependence", ["supported", "contradicted", "undecided", "no block", "not measured", None])
@pytest.mark.parametrize("repeated", ["the base solves more", "RLVR solves more", "open", None])
@pytest.mark.parametrize("over_rft", [None, Difference(0.01, -0.01, 0.03), Difference(-0.02, -0.03, -0.01)])
def test_the_sentence_has_at_most_25_words(
    dependence: str | None, repeated: str | None, over_rft: Difference | None
) -> None:
    for steps in (LONGEST, MERGED, rows()):
        assert len(explain_gain(finding(), steps, dependence, repeated, over_rft).split()) <= 25


@pytest.mark.parametrize("steps", [rows(), MERGED])
@pytest.mark.parametrize(
    ("over_rft", "dependence", "repeated", "limit"),
    [
        ((0.01, -0.01, 0.03), "supported", "RLVR solves more", "rejection sampling may gain as much"),
        ((0.01, 0.0, 0.02), None, "open", "rejection sampling may gain as much"),
        ((-0.02, -0.03, -0.01), None, "the base solves more", "rejection sampling gains more"),
        ((0.01, -0.01, 0.03), None, "the base solves more", "the base solves more with repeated samples"),
        ((-0.02, -0.03, -0.01), "contradicted", None, "most answers ignore the chain of thought"),
    ],
)
def test_rejection_sampling_that_gains_as_much_is_a_limit(
    steps: list[dict[str, Any]], over_rft: tuple[float, ...], dependence: str | None, repeated: str | None, limit: str
) -> None:
    found = explain_gain(finding(), steps, dependence, repeated, Difference(*over_rft))
    assert found.endswith(f" (+10.0 to +30.0) remain, but {limit}.")
    assert len(found.split()) <= 25


@pytest.mark.parametrize(
    ("arm", "named"),
    [
        ({}, True),
        ({"rlvr_low": 0.001}, False),
        ({"role": "random"}, False),
        ({"benchmark": "mmlu_pro_health"}, False),
    ],
)
def test_only_the_first_benchmarks_rejection_sampling_counts(tmp_path: Path, arm: dict[str, Any], named: bool) -> None:
    arms = [{"benchmark": "medqa", "role": "rft", "rlvr_minus": 0.01, "rlvr_low": -0.01, "rlvr_high": 0.03} | arm]
    write_json(tmp_path / "waterfall.json", {"steps": rows(), "arms": arms})
    found = gain_values([tmp_path / "waterfall.json"], {"claims": []}, {"medqa": finding()})["explanation"]
    assert ("rejection sampling" in found) == named


def test_a_gain_that_the_bases_best_mode_also_has_is_none() -> None:
    assert explain_gain(finding(best=0.65), rows(), "supported", None, None) == (
        "RLVR gains +50.0 points, but none over the base's best mode, direct: -5.0."
    )


def test_without_a_positive_step_only_what_remains_is_named() -> None:
    none = dict.fromkeys(("reading", "format", "habits", "spurious", "known"), (-0.1, 0.0))
    assert explain_gain(finding(), rows(**none), None, None, None) == (
        "Of RLVR's +50.0 points, +20.0 (+10.0 to +30.0) remain, but reasoning was not tested."
    )


def test_the_files_of_the_first_benchmark_count(tmp_path: Path) -> None:
    other = [row | {"benchmark": "mmlu_pro_health"} for row in rows(least=BELOW)]
    waterfall, samples = tmp_path / "waterfall.json", tmp_path / "samples.json"
    write_json(waterfall, {"steps": [*other, *rows()], "arms": []})
    repeated = [
        {"benchmark": name, "reading": reading, "finding": found}
        for name, reading, found in (
            ("mmlu_pro_health", "lenient_correct", "open"), ("medqa", "correct", "open"),
            ("medqa", "lenient_correct", None), ("medqa", "lenient_correct", "the base solves more"),
        )
    ]  # fmt: skip
    write_json(samples, {"curves": [], "rlvr_minus_base": repeated})
    claims = [{"claim": DEPENDENCE, "benchmark": "mmlu_pro_health", "verdict": "contradicted", "value": 0.1, "n": 200},
              {"claim": DEPENDENCE, "benchmark": "medqa", "verdict": "supported", "value": 0.9, "n": 200}]  # fmt: skip
    findings = {"medqa": finding(), "mmlu_pro_health": finding()}
    found = gain_values([waterfall, samples], {"claims": claims}, findings)
    assert found["explanation"] == f"{REMAINS}, but the base solves more with repeated samples."
    assert gain_values([waterfall], {"claims": []}, findings)["explanation"].endswith("but reasoning was not tested.")
    for n, limit in ((0, "no think block could be changed"), (200, "reasoning was not tested")):
        without = [claims[1] | {"verdict": "undecided", "value": None, "n": n}]
        explanation = gain_values([waterfall], {"claims": without}, findings)["explanation"]
        assert explanation == f"{REMAINS}, but {limit}."
    assert gain_values([], {"claims": []}, findings) == {"waterfall": None, "explanation": None}


def test_the_sentence_replaces_the_one_about_the_gain_and_the_steps_are_in_the_report(tmp_path: Path) -> None:
    inputs = pages.prepare(tmp_path, evaluate(EXPERIMENT), pages.rollouts([[TAGGED.format("A")] * 2]))
    arm = {"benchmark": "medqa", "role": "rft", "arm": "rft", "seeds": 3, "accuracy": 0.1234, "any_letter": 0.2345,
           "n": 9, "value": 0.01, "low": -0.02, "high": 0.03, "rlvr_minus": 0.04,
           "rlvr_low": 0.05, "rlvr_high": 0.06}  # fmt: skip
    steps = [row | {"name": "a <b> step"} if row["step"] == "habits" else row for row in rows(gain=AROUND)]
    write_json(tmp_path / "waterfall.json", {"steps": steps, "arms": [arm]})
    for kind in ("", "_column"):
        (tmp_path / f"waterfall{kind}.svg").write_text("<svg></svg>", encoding="utf-8")
    figures = [*(tmp_path / f"{name}.svg" for name in FIGURES), *tmp_path.glob("waterfall*.svg")]
    more = {"explanation": [tmp_path / "waterfall.json"], "figures": figures}
    page = pages.render(pages.page_values(pages.PageInputs(**inputs | more)))
    first = page.partition('id="verdicts"')[0]
    assert "No gain was found: by the required format, the difference is +5.0 (-5.0 to +15.0) points." in first
    assert '<a href="#waterfall">Steps</a>' in first and first.count("the difference is") == 1
    assert 'id="waterfall"' in page and "a &lt;b&gt; step" in page and "12.3" in page and "23.4" in page
