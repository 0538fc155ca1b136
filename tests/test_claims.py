"""The rules of docs/claims.md, at their edges, and a table of claims by hand."""

from dataclasses import asdict

import pandas as pd
import pytest
from evaluated import PAPER
from test_compare import design

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.claims import above, assess_claims, better, equivalent, reasoned, verified


@pytest.mark.parametrize(
    ("low", "high", "finding"),
    [
        (-0.049, 0.049, "yes"),
        (-0.05, 0.02, "cannot tell"),
        (0.01, 0.051, "cannot tell"),
        (0.051, 0.1, "no"),
        (-0.2, -0.051, "no"),
        (-0.2, -0.05, "cannot tell"),
        (-0.1, 0.1, "cannot tell"),
    ],
)
def test_equality(low: float, high: float, finding: str) -> None:
    assert equivalent(low, high) == finding


@pytest.mark.parametrize(
    ("low", "high", "expected", "finding"),
    [
        (0.01, 0.1, None, "yes"),
        (0.001, 0.02, None, "yes"),
        (0.0, 0.1, None, "cannot tell"),
        (-0.1, 0.049, None, "no"),
        (-0.1, 0.05, None, "cannot tell"),
        (0.05, 0.12, (0.04, 0.13), "yes"),
        (0.12, 0.2, (0.04, 0.13), "yes"),
        (0.14, 0.2, (0.04, 0.13), "no"),
        (-0.02, 0.03, (0.04, 0.13), "no"),
        (-0.02, 0.05, (0.04, 0.13), "cannot tell"),
    ],
)
def test_a_gain(low: float, high: float, expected: tuple[float, float] | None, finding: str) -> None:
    assert better(low, high, expected) == finding


def test_a_share() -> None:
    assert [above(0.51, 0.6, 0.5), above(0.4, 0.49, 0.5), above(0.4, 0.6, 0.5)] == ["yes", "no", "cannot tell"]


def test_who_reasons_and_who_turns_back() -> None:
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


def pair(first: str, second: str, second_mode: str, low: float, high: float) -> dict:
    ends = {"low": low, "high": high}
    return {
        "benchmark": "toy",
        "first": {"arm": first, "mode": "cot"},
        "second": {"arm": second, "mode": second_mode},
        "n": 300,
        "difference": (low + high) / 2,
        "interval_95": ends,
        "interval_90": {"low": low + 0.01, "high": high - 0.01},
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
        "RLVR is as good as SFT in distribution": "seen",  # by the interval of 90 %
        "RLVR is better than its base model": "seen",
        "RLVR reasons, without having been shown how": "seen",
        "RLVR does not verify itself": "seen",
    }
    assert found[0]["confidence"] == 0.9 and found[0]["paper"]["difference"] == pytest.approx(-0.0079)
    assert found[1]["paper"]["difference"] == pytest.approx(0.1697)
    assert [record["seeds"] for record in found] == [[1, 1], [1], [1], [1]]


def test_without_sft_the_other_claims_stand() -> None:
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
    assert verdicts(found)["RLVR is better than SFT out of distribution"] == "seen"
    expected = 1.96 * (0.0175**2 + 0.0163**2) ** 0.5
    assert found[0]["paper"]["low"] == pytest.approx(0.0841 - expected)


def test_the_papers_own_experiment_must_meet_the_papers_figure() -> None:
    own = ComparisonDesign(**{**asdict(design()), "papers": True})
    found = verdicts(assess_claims(PAIRS, scores(), PAPER, own))
    assert found["RLVR is better than its base model"] == "agrees"
    larger = [pair("rlvr", "base", "cot", 0.25, 0.3)]
    assert verdicts(assess_claims(larger, scores(), PAPER, own))["RLVR is better than its base model"] == "differs"


def test_behaviour_that_is_not_the_papers() -> None:
    found = verdicts(assess_claims([], scores(answer_named_at=0.0, response="Wait, no."), PAPER, design()))
    assert found == {
        "RLVR reasons, without having been shown how": "not seen",
        "RLVR does not verify itself": "not seen",
    }


@pytest.mark.parametrize("change", [{"claims": False}, {"papers": True, "claims": False}])
def test_an_experiment_without_claims_tells_nothing(change: dict) -> None:
    found = assess_claims(PAIRS, scores(), PAPER, ComparisonDesign(**{**asdict(design()), **change}))
    assert set(verdicts(found).values()) == {"cannot tell"}


def test_too_few_questions_tell_nothing() -> None:
    few = [{**record, "n": 99} for record in PAIRS]
    assert set(verdicts(assess_claims(few, scores(99), PAPER, design())).values()) == {"cannot tell"}
