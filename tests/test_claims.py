"""The rules of docs/claims.md, at their edges, and a table of claims by hand."""

import inspect
from dataclasses import asdict
from types import ModuleType

import pandas as pd
import pytest
from evaluated import PAPER
from test_compare import design

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation import claims, score, statistics, strata
from medrlvr.evaluation.claims import above, assess_claims, below, better, equivalent, reasoned, verified
from medrlvr.evaluation.comparison import pairs
from medrlvr.evaluation.version import comparison_version, metrics_version


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (-0.049, 0.049, "supported"),
        (-0.05, 0.02, "undecided"),
        (0.01, 0.051, "undecided"),
        (-0.02, 0.09, "undecided"),
        (0.05, 0.1, "undecided"),
        (0.051, 0.1, "better than claimed"),
        (-0.2, -0.051, "contradicted"),
        (-0.2, -0.05, "undecided"),
        (-0.1, 0.1, "undecided"),
    ],
)
def test_equality(low: float, high: float, finding: str) -> None:
    assert equivalent(low, high) == finding


@pytest.mark.parametrize(
    ("low", "high", "expected", "finding"),
    [
        (0.01, 0.1, None, "supported"),
        (0.001, 0.02, None, "supported"),
        (0.3, 0.5, None, "supported"),
        (0.0, 0.1, None, "undecided"),
        (-0.1, 0.049, None, "contradicted"),
        (-0.1, 0.05, None, "undecided"),
        (0.05, 0.12, (0.04, 0.13), "supported"),
        (0.12, 0.2, (0.04, 0.13), "supported"),
        (0.13, 0.2, (0.04, 0.13), "supported"),
        (0.14, 0.2, (0.04, 0.13), "better than claimed"),
        (-0.02, 0.03, (0.04, 0.13), "contradicted"),
        (-0.02, 0.05, (0.04, 0.13), "undecided"),
    ],
)
def test_a_gain(low: float, high: float, expected: tuple[float, float] | None, finding: str) -> None:
    assert better(low, high, expected) == finding


def test_a_share() -> None:
    edges = [(0.51, 0.6), (0.4, 0.49), (0.4, 0.6), (0.5, 0.6), (0.4, 0.5)]
    assert [above(*ends, 0.5) for ends in edges] == ["supported", "contradicted", *["undecided"] * 3]
    assert [below(*ends, 0.5) for ends in edges] == ["contradicted", "supported", *["undecided"] * 3]


def test_reasoning_and_self_verification_are_shares() -> None:
    answers = pd.DataFrame(
        {
            "valid_format": [True, True, True, False],
            "think_chars": [40, 39, 200, 200],
            "answer_named_at": [None, None, 39.0, 100.0],
            "response": ["<think> Wait, no. </think>", "so", "", "it is B"],
        }
    )
    assert reasoned(answers).tolist() == [True, False, False, False]
    assert reasoned(answers.assign(answer_named_at=40.0)).tolist() == [True, True, True, False]
    assert verified(answers).tolist() == [True, False, False, False]
    steps = pd.array([False, True, None, True], dtype="boolean")
    assert reasoned(answers.assign(reasons=steps)).tolist() == [False, True, False, False], "length counts for nothing"
    unknown = pd.array([None] * 4, dtype="boolean")
    assert reasoned(answers.assign(reasons=unknown)).tolist() == [True, False, False, False]


def difference(low: float, high: float) -> dict:
    return {
        "difference": (low + high) / 2,
        "interval_95": {"low": low, "high": high},
        "interval_90": {"low": low + 0.01, "high": high - 0.01},
    }


def pair(
    first: str, second: str, second_mode: str, low: float, high: float, any_letter: tuple[float, float] | None = None
) -> dict:
    return {
        "benchmark": "toy",
        "first": {"arm": first, "mode": "cot"},
        "second": {"arm": second, "mode": second_mode},
        "n": 300,
        **difference(low, high),
        "any_letter": difference(*(any_letter or (low, high))),
    }


PAIRS = [pair("rlvr", "sft", "direct", -0.055, 0.055), pair("rlvr", "base", "cot", 0.1, 0.3)]
PAIRS.append(pair("sft", "base", "cot", 0.1, 0.3))


def scores(n: int = 300, **columns: object) -> dict[str, pd.DataFrame]:
    answers = {"valid_format": True, "think_chars": 100, "answer_named_at": 90.0, "response": "so it is B", **columns}
    table = pd.DataFrame({"question_id": [f"q{i}" for i in range(n)], "benchmark": "toy", "mode": "cot"}).assign(
        **answers
    )
    return {"rlvr/seed1": table}


def verdicts(found: list[dict]) -> dict[str, str]:
    return {record["claim"]: record["verdict"] for record in found}


def test_claims_by_hand() -> None:
    found = assess_claims(PAIRS, scores(), PAPER, design())
    assert verdicts(found) == {
        "RLVR is as good as SFT in distribution": "supported",  # by the interval of 90 %
        "RLVR is better than its base model": "supported",
        "RLVR reasons, without having been shown how": "supported",
        "RLVR does not verify itself": "supported",
    }
    assert found[0]["confidence"] == 0.9 and found[0]["paper"]["difference"] == pytest.approx(-0.0079)
    assert found[1]["paper"]["difference"] == pytest.approx(0.1697)
    assert [record["seeds"] for record in found] == [[1, 1], [1], [1], [1]]


@pytest.mark.parametrize("module", [claims, pairs, statistics])
def test_a_changed_rule_makes_old_verdicts_outdated(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before, source = comparison_version(), inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda one: source(one) + ("# a comment" if one is module else ""))
    assert comparison_version() == before
    monkeypatch.setattr(inspect, "getsource", lambda one: source(one) + ("\nADDED = 1" if one is module else ""))
    assert comparison_version() != before


@pytest.mark.parametrize("module", [score, strata])
def test_changed_metrics_are_computed_again(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    before, source = metrics_version(), inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda one: source(one) + ("# a comment" if one is module else ""))
    assert metrics_version() == before
    monkeypatch.setattr(inspect, "getsource", lambda one: source(one) + ("\nADDED = 1" if one is module else ""))
    assert metrics_version() != before


def test_without_sft_the_other_claims_have_verdicts() -> None:
    alone = ComparisonDesign(**{**asdict(design()), "sft": None})
    found = verdicts(assess_claims(PAIRS, scores(), PAPER, alone))
    assert set(found) == set(verdicts(assess_claims(PAIRS, scores(), PAPER, design()))) - {
        "RLVR is as good as SFT in distribution"
    }
    assert assess_claims(PAIRS, scores(), PAPER, ComparisonDesign(**{**asdict(design()), "rlvr": None})) == []


def test_a_share_stays_a_share() -> None:
    table = scores()["rlvr/seed1"]
    three = {
        f"rlvr/seed{seed}": table.assign(valid_format=[row >= bad for row in range(300)])
        for seed, bad in ((1, 0), (2, 1), (3, 9))
    }
    found = assess_claims([], three, PAPER, design(3))[0]
    assert 0.9 < found["low"] < found["value"] < found["high"] == 1.0


def test_out_of_distribution_the_claim_is_a_gain() -> None:
    out = ComparisonDesign(**{**asdict(design()), "distributions": {"toy": "out"}})
    found = assess_claims([pair("rlvr", "sft", "direct", 0.01, 0.06)], scores(), PAPER, out)
    assert verdicts(found)["RLVR is better than SFT out of distribution"] == "supported"
    expected = 1.96 * (0.0175**2 + 0.0163**2) ** 0.5
    assert found[0]["paper"]["low"] == pytest.approx(0.0841 - expected)


def test_the_papers_own_experiment_must_meet_the_papers_figure() -> None:
    own = ComparisonDesign(**{**asdict(design()), "papers": True})
    found = verdicts(assess_claims(PAIRS, scores(), PAPER, own))
    assert found["RLVR is better than its base model"] == "supported"
    larger = [pair("rlvr", "base", "cot", 0.25, 0.3)]
    assert (
        verdicts(assess_claims(larger, scores(), PAPER, own))["RLVR is better than its base model"]
        == "better than claimed"
    )


@pytest.mark.parametrize(
    ("required", "any_letter", "verdict"),
    [
        ((0.8, 0.9), (0.2, 0.4), "supported"),
        ((0.8, 0.9), (-0.03, 0.03), "contradicted"),
        ((0.8, 0.9), (-0.03, 0.2), "undecided"),
        ((-0.03, 0.03), (0.8, 0.9), "contradicted"),
    ],
)
def test_the_less_favourable_reading_counts(
    required: tuple[float, float], any_letter: tuple[float, float], verdict: str
) -> None:
    (gain, *_) = assess_claims([pair("rlvr", "base", "cot", *required, any_letter)], scores(), PAPER, design())
    assert gain["verdict"] == verdict
    assert (gain["low"], gain["any_letter"]["low"]) == (required[0], any_letter[0])


def test_parity_is_judged_by_both_readings() -> None:
    (parity, *_) = assess_claims([pair("rlvr", "sft", "direct", 0.1, 0.2, (-0.01, 0.03))], scores(), PAPER, design())
    assert (parity["any_letter"]["verdict"], parity["verdict"]) == ("supported", "supported")
    (better_twice, *_) = assess_claims([pair("rlvr", "sft", "direct", 0.1, 0.2)], scores(), PAPER, design())
    assert better_twice["verdict"] == "better than claimed"


def test_the_record_states_whether_steps_were_checked() -> None:
    reasons = {True: pd.array([True] * 300, dtype="boolean"), False: pd.array([False] * 300, dtype="boolean")}
    for value, column in reasons.items():
        (found, _) = assess_claims([], scores(reasons=column), PAPER, design())
        assert (found["checked"], found["verdict"]) == (True, "supported" if value else "contradicted")
    (found, other) = assess_claims([], scores(), PAPER, design())
    assert (found["checked"], other["checked"]) == (False, None)


def test_behaviour_that_is_not_the_papers() -> None:
    found = verdicts(assess_claims([], scores(answer_named_at=0.0, response="Wait, no."), PAPER, design()))
    assert found == {
        "RLVR reasons, without having been shown how": "contradicted",
        "RLVR does not verify itself": "contradicted",
    }


@pytest.mark.parametrize("change", [{"claims": False}, {"papers": True, "claims": False}])
def test_an_experiment_without_claims_has_only_undecided_verdicts(change: dict) -> None:
    found = assess_claims(PAIRS, scores(), PAPER, ComparisonDesign(**{**asdict(design()), **change}))
    assert set(verdicts(found).values()) == {"undecided"}


def test_too_few_questions_are_undecided() -> None:
    few = [{**record, "n": 99} for record in PAIRS]
    assert set(verdicts(assess_claims(few, scores(99), PAPER, design())).values()) == {"undecided"}
