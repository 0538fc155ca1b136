"""Comparisons of systems: hand-counted tables."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from medrlvr.config.design import ComparisonDesign, System, comparison_design
from medrlvr.config.experiment import Experiment
from medrlvr.data.controls import vary
from medrlvr.evaluation.comparison.controls import compare_controls, compare_shifts
from medrlvr.evaluation.comparison.decomposition import decompose_gain
from medrlvr.evaluation.comparison.pairs import compare_systems
from medrlvr.evaluation.comparison.tables import metrics_table, summarise_arms

QUESTIONS = ["q1", "q2", "q3", "q4"]
CLUSTERS = pd.DataFrame(
    {"question_id": QUESTIONS, "repeats": ["q1", "q2", "q1", "q4"], "cluster": ["q1", "q2", "q1", "q4"]}
)
OPTIONS = ["iron", "gold", "zinc", "lead"]


def design(seeds: int = 1, sets: dict | None = None) -> ComparisonDesign:
    return ComparisonDesign(
        models={
            "base": ["base"],
            "rlvr": [f"rlvr/seed{n}" for n in range(1, seeds + 1)],
            "sft": [f"sft/seed{n}" for n in range(1, seeds + 1)],
        },
        runs={"base": None, "rlvr": "rlvr", "sft": "sft"},
        modes={"base": ["cot", "direct", "scored"], "rlvr": ["cot", "direct"], "sft": ["direct"]},
        sets=sets or {"toy": ("toy", None)},
        rlvr="rlvr",
        sft="sft",
        loglikelihood="scored",
        distributions={"toy": "in"},
        papers=False,
        claims=True,
    )


def decided(benchmark: str = "toy", options: list[str] = OPTIONS, **letters: str) -> pd.DataFrame:
    """A table of predictions: for each mode a letter per question, the right one is A.

    A dot: no letter; a small one: named, but not where it can be read.
    """
    return pd.DataFrame(
        [
            {
                "benchmark": benchmark,
                "mode": mode,
                "question_id": question,
                "letter": letter if letter in "ABCD" else None,
                "answered": options["ABCD".index(letter)] if letter in "ABCD" else None,
                "correct": letter == "ABCD"[options.index("iron")],
                "lenient_correct": letter.upper() == "ABCD"[options.index("iron")],
            }
            for mode, row in letters.items()
            for question, letter in zip(QUESTIONS, row, strict=True)
        ]
    )


BASE = decided(cot="..BA", direct="BBBB", scored="ABAB")


def test_which_pairs_are_compared() -> None:
    pairs = {(first, second): role for first, second, role in design().pairs()}
    cot, direct = (System("rlvr", mode) for mode in ("cot", "direct"))
    sft = System("sft", "direct")
    assert pairs.pop((cot, sft)) == "primary"
    assert set(pairs.values()) == {"exploratory"}
    assert (sft, System("base", "cot")) in pairs  # both judged by it
    assert (direct, sft) in pairs  # the control: both asked directly
    assert (cot, direct) in pairs or (direct, cot) in pairs  # one arm
    assert (cot, System("base", "cot")) in pairs
    assert not {(cot, System("base", "direct")), (cot, System("base", "scored"))} & set(pairs)


def test_without_sft_there_is_no_primary_pair() -> None:
    alone = ComparisonDesign(**{**asdict(design()), "sft": None})
    assert {role for *_, role in alone.pairs()} == {"exploratory"}


def compared(seeds: int, predictions: dict[str, pd.DataFrame]) -> dict:
    records = compare_systems(predictions, CLUSTERS, design(seeds), 500, seed=1)
    (primary,) = [record for record in records if record["role"] == "primary"]
    return primary


def test_a_pair_by_hand_whatever_the_order_of_rows() -> None:
    rlvr = decided(cot="AABA", direct="BBBB").iloc[::-1]
    record = compared(1, {"base": BASE, "rlvr/seed1": rlvr, "sft/seed1": decided(direct="ABAB")})
    assert (record["first"]["arm"], record["second"]["arm"], record["n"]) == ("rlvr", "sft", 4)
    assert record["difference"] == 0.25
    [seed] = record["by_seed"]
    assert (seed["first"], seed["only_first"], seed["only_second"]) == ("rlvr/seed1", 2, 1)
    assert record["holm_p"] == seed["mcnemar_p"] == 1.0
    # Without q3, which repeats q1.
    assert (record["distinct"]["n"], record["distinct"]["difference"]) == (3, pytest.approx(2 / 3))
    assert record["over_seeds"] is None and record["interval_95"] == record["over_questions"]


def test_the_interval_over_seeds_contains_both_kinds_of_chance() -> None:
    predictions = {"base": BASE}
    for number, row in enumerate(["AAAA", "AAAB", "AABB"], start=1):
        predictions[f"rlvr/seed{number}"] = decided(cot=row, direct="BBBB")
        predictions[f"sft/seed{number}"] = decided(direct="ABBB")
    record = compared(3, predictions)
    assert record["difference"] == pytest.approx(0.5)
    assert [seed["difference"] for seed in record["by_seed"]] == [0.75, 0.5, 0.25]
    for end, outer in (("low", min), ("high", max)):
        assert record["interval_95"][end] == outer(record["over_questions"][end], record["over_seeds"][end])
    assert record["over_seeds"]["high"] - record["over_seeds"]["low"] == pytest.approx(
        2 * 4.3027 * 0.25 / 3**0.5, rel=1e-3
    )
    narrower = record["interval_90"]["high"] - record["interval_90"]["low"]
    assert narrower < record["interval_95"]["high"] - record["interval_95"]["low"]


def test_the_two_primary_tests_are_corrected_and_no_other() -> None:
    two = ComparisonDesign(**{**asdict(design()), "sets": {"toy": ("toy", None), "far": ("far", None)}})
    predictions = {}
    for model, rows in {
        "base": {"cot": "....", "direct": "BBBB", "scored": "BBBB"},
        "rlvr/seed1": {"cot": "AAAA", "direct": "BBBB"},
        "sft/seed1": {"direct": "BBBB"},
    }.items():
        predictions[model] = pd.concat([decided(benchmark, **rows) for benchmark in ("toy", "far")])
    records = compare_systems(predictions, CLUSTERS, two, 100, seed=1)
    assert {record["role"] for record in records if "holm_p" in record} == {"primary"}
    assert [record["holm_p"] for record in records if "holm_p" in record] == [0.25, 0.25]  # twice 2 / 2 ** 4


def test_answers_follow_the_content_or_the_letter() -> None:
    turned = ["gold", "iron", "zinc", "lead"]
    sets = {"toy": ("toy", None), "toy_shuffled": ("toy", "shuffled")}
    shown = {name: pd.DataFrame({"question_id": QUESTIONS, "options": [options] * 4}) for name, options in
             (("toy", OPTIONS), ("toy_shuffled", turned))}  # fmt: skip
    after = {"base": "....", "rlvr/seed1": "BBBC", "sft/seed1": "ABCB"}
    before = {"base": "AAAA", "rlvr/seed1": "AABC", "sft/seed1": "ABCA"}
    modes = {"base": "cot", "rlvr/seed1": "cot", "sft/seed1": "direct"}
    predictions = {
        model: pd.concat(
            [decided(**{modes[model]: before[model]}), decided("toy_shuffled", turned, **{modes[model]: row})]
        )
        for model, row in after.items()
    }
    records = {
        row["model"]: row for row in compare_controls(predictions, shown, CLUSTERS, design(sets=sets), 100, seed=1)
    }
    # iron, iron, gold and zinc; then iron three times and zinc, which did not move. Two of the three stay with iron.
    stays = {model: [row[key] for key in ("moved", "same_text", "same_letter")] for model, row in records.items()}
    assert stays["rlvr/seed1"] == [3, pytest.approx(2 / 3), pytest.approx(1 / 3)]
    assert stays["sft/seed1"] == [3, pytest.approx(1 / 3), pytest.approx(2 / 3)]
    assert stays["base"] == [0, None, None]
    assert (records["rlvr/seed1"]["accuracy"], records["rlvr/seed1"]["control_accuracy"]) == (0.5, 0.75)
    assert records["rlvr/seed1"]["difference"] == 0.25


def test_a_control_is_compared_in_both_readings() -> None:
    """Of RLVR's letters in the control, two are right but not in the required format."""
    sets = {"toy": ("toy", None), "toy_shuffled": ("toy", "shuffled")}
    shown = {name: pd.DataFrame({"question_id": QUESTIONS, "options": [OPTIONS] * 4}) for name in sets}
    predictions = {
        model: pd.concat([decided(**{mode: "AABB"}), decided("toy_shuffled", **{mode: row})])
        for model, mode, row in (
            ("base", "cot", "...."),
            ("rlvr/seed1", "cot", "aaAB"),
            ("sft/seed1", "direct", "BBBB"),
        )
    }
    found = {row["model"]: row for row in compare_controls(predictions, shown, CLUSTERS, design(sets=sets), 100, 1)}
    record, any_letter = found["rlvr/seed1"], found["rlvr/seed1"]["any_letter"]
    assert (record["control_accuracy"], record["difference"]) == (0.25, -0.25)
    assert (any_letter["accuracy"], any_letter["control_accuracy"], any_letter["difference"]) == (0.5, 0.75, 0.25)
    assert any_letter["low"] <= 0.25 <= any_letter["high"]
    assert set(any_letter) == {"accuracy", "control_accuracy", "difference", "low", "high"}
    assert found["sft/seed1"]["any_letter"]["difference"] == found["sft/seed1"]["difference"] == -0.5


def test_each_question_once_has_both_readings() -> None:
    """Question q3 repeats q1: without it, RLVR has one of three in the required format and two by any letter."""
    predictions = {
        "base": decided(cot="BBBB", direct="BBBB", scored="BBBB"),
        "rlvr/seed1": decided(cot="AaAB", direct="BBBB"),
        "sft/seed1": decided(direct="BBBB"),
    }
    pairs = compare_systems(predictions, CLUSTERS, design(), 100, 1)
    [once] = [
        row["distinct"]
        for row in pairs
        if (row["first"]["mode"], row["second"]["arm"], row["second"]["mode"]) == ("cot", "base", "cot")
    ]
    assert (once["n"], once["difference"]) == (3, pytest.approx(1 / 3))
    assert once["any_letter"]["difference"] == pytest.approx(2 / 3)
    assert once["any_letter"]["low"] <= 2 / 3 <= once["any_letter"]["high"]


@pytest.mark.parametrize(
    ("base", "scored", "rlvr", "counts"),
    [
        ("..BA", "ABAB", "AAAB", {"unparsed_known": 1, "unparsed_new": 1, "wrong_known": 1, "lost": 1}),
        ("a.BB", "BBBA", "AABA", {"unparsed_said": 1, "unparsed_new": 1, "wrong_known": 1}),
        ("aaba", "ABAA", "AAAA", {"unparsed_said": 3, "unparsed_known": 1}),
        ("CCCC", "BBBB", "AAAA", {"wrong_new": 4}),
    ],
)
def test_where_a_gain_comes_from(base: str, scored: str, rlvr: str, counts: dict[str, int]) -> None:
    predictions = {
        "base": decided(cot=base, direct="BBBB", scored=scored),
        "rlvr/seed1": decided(cot=rlvr, direct="BBBB"),
        "sft/seed1": decided(direct="AAAA"),
    }
    [record] = decompose_gain(predictions, design())
    cells = {name: value for name, value in record.items() if name.startswith(("unparsed", "wrong", "lost")) and value}
    assert cells == counts
    gained = sum(value for name, value in counts.items() if name != "lost")
    assert gained - counts.get("lost", 0) == rlvr.count("A") - base.count("A")


def test_without_scoring_or_rlvr_or_the_bases_answers_no_gain_is_divided() -> None:
    predictions = {"base": BASE, "rlvr/seed1": decided(cot="AAAA", direct="BBBB"), "sft/seed1": decided(direct="AAAA")}
    assert len(decompose_gain(predictions, ComparisonDesign(**{**asdict(design()), "sft": None}))) == 1
    for missing in ({"loglikelihood": None}, {"rlvr": None}, {"modes": {**design().modes, "base": ["direct"]}}):
        assert decompose_gain(predictions, ComparisonDesign(**{**asdict(design()), **missing})) == []


def test_an_arm_over_its_seeds() -> None:
    predictions = {"base": BASE}
    for number, row in enumerate(["AAAA", "AAAB", "AABB"], start=1):
        predictions[f"rlvr/seed{number}"] = decided(cot=row, direct="BBBB")
        predictions[f"sft/seed{number}"] = decided(direct="ABBB")
    rows = {(row["arm"], row["mode"]): row for row in summarise_arms(predictions, design(3))}
    found = rows["rlvr", "cot"]
    assert (found["seeds"], found["accuracy"], found["lowest"], found["highest"]) == (3, 0.75, 0.5, 1.0)
    width = 4.3027 * 0.25 / 3**0.5
    assert found["over_seeds"] == pytest.approx({"low": 0.75 - width, "high": 0.75 + width}, rel=1e-3)
    assert (rows["base", "cot"]["seeds"], rows["base", "cot"]["over_seeds"]) == (0, None)


def test_an_arm_over_its_seeds_has_both_readings() -> None:
    predictions = {"base": BASE}
    for number, row in enumerate(["aAAA", "AAAb", "aaBB"], start=1):
        predictions[f"rlvr/seed{number}"] = decided(cot=row, direct="BBBB")
        predictions[f"sft/seed{number}"] = decided(direct="ABBB")
    rows = {(row["arm"], row["mode"]): row for row in summarise_arms(predictions, design(3))}
    found, any_letter = rows["rlvr", "cot"], rows["rlvr", "cot"]["any_letter"]
    assert (found["accuracy"], found["lowest"], found["highest"]) == (0.5, 0.0, 0.75)
    assert (any_letter["accuracy"], any_letter["lowest"], any_letter["highest"]) == (0.75, 0.5, 1.0)
    assert any_letter["over_seeds"]["low"] < 0.75 < any_letter["over_seeds"]["high"]


def test_an_untrained_model_has_no_seeds_and_one_training_run_is_one() -> None:
    """RLVR's three seeds against the base, against SFT's one, and against RLVR itself asked otherwise."""
    three = design(3)
    one_sft = ComparisonDesign(**{**asdict(three), "models": {**three.models, "sft": ["sft/seed1"]}})
    predictions = {"base": BASE, "sft/seed1": decided(direct="ABBB")}
    for number, rows in enumerate([("AAAA", "AAAB"), ("AAAB", "AABB"), ("AABB", "ABBB")], start=1):
        predictions[f"rlvr/seed{number}"] = decided(cot=rows[0], direct=rows[1])
    found = {
        (row["first"]["arm"], row["first"]["mode"], row["second"]["arm"], row["second"]["mode"]): row["over_seeds"]
        for row in compare_systems(predictions, CLUSTERS, one_sft, 100, 1)
    }
    assert found["rlvr", "cot", "base", "cot"] is not None
    assert found["rlvr", "cot", "sft", "direct"] is None, "one seed of a trained arm tells nothing of its others"
    assert found["rlvr", "direct", "rlvr", "cot"] == {"low": -0.25, "high": -0.25}, "each run loses as much"


def test_every_accuracy_in_one_table() -> None:
    record = {
        "benchmark": "toy",
        "mode": "cot",
        "n": 4,
        "accuracy": 0.5,
        "letters": {"A": 1},
        "strata": [{"stratum": "options", "value": "4", "n": 4, "accuracy": 0.5}],
    }
    policy = {"policy": "always A", "n": 4, "accuracy": 0.25, "strata": [{**record["strata"][0], "accuracy": 0.0}]}
    table = metrics_table({"base": [record]}, {"toy": [policy]})
    assert table[["model", "stratum", "value", "n", "accuracy"]].to_numpy().tolist() == [
        ["base", "all", "", 4, 0.5],
        ["base", "options", "4", 4, 0.5],
        ["always A", "all", "", 4, 0.25],
        ["always A", "options", "4", 4, 0.0],
    ]


def test_the_design_of_the_papers_experiment() -> None:
    found = comparison_design(Experiment())
    assert (found.rlvr, found.sft) == ("rlvr", "sft") and found.papers and found.loglikelihood == "loglikelihood"
    assert found.models["rlvr_dev"] == ["rlvr_dev/seed1"]
    assert found.sets["mmlu_pro_health_five_options"] == ("mmlu_pro_health", "five_options")
    assert found.benchmarks == ["medqa", "mmlu_pro_health"]
    assert found.primary("sft") == System("sft", "direct") and found.primary("rlvr") == System(
        "rlvr", "chain_of_thought"
    )


def test_robust_answers_are_right_in_the_original_order_and_in_every_shift() -> None:
    n = len(QUESTIONS)
    orders = {"toy": "A" * n, "toy_shift_1": "A" * (n - 1) + "B", "toy_shift_2": "a" + "A" * (n - 1)}
    # The third shift repeats the original order of three options.
    orders["toy_shift_3"] = "A" * n
    sets = {name: ("toy", None if name == "toy" else name.removeprefix("toy_")) for name in orders}
    sets["toy_shuffled"] = ("toy", "shuffled")
    texts = zip(orders, ("xyz", "yzx", "zxy", "xyz"), strict=True)
    shown = {name: pd.DataFrame({"question_id": QUESTIONS, "options": [list(one)] * n}) for name, one in texts}
    tables = [decided(name, cot=letters).assign(options=3) for name, letters in orders.items()]
    tables.append(decided("toy_shuffled", cot="B" * n).assign(options=3))
    one = ComparisonDesign(**{**asdict(design(sets=sets)), "models": {"base": ["base"]}, "modes": {"base": ["cot"]}})
    (found,) = compare_shifts({"base": pd.concat(tables)}, shown, CLUSTERS, one, 200, 1)
    assert (found["shifts"], found["complete"], found["accuracy"]) == (3, 1, 1)
    assert found["robust"] == (n - 2) / n and found["low"] <= found["robust"] <= found["high"]
    assert found["any_letter"]["robust"] == (n - 1) / n
    assert found["independent"] == pytest.approx(((n - 1) / n) ** 2)
    assert found["excess"] == pytest.approx(found["robust"] - found["independent"])
    assert found["excess_low"] <= found["excess"] <= found["excess_high"]
    assert compare_shifts({"base": tables[0]}, shown, CLUSTERS, design(), 10, 1) == []


SEVERAL = ["iron", "gold", "zinc", "lead"]
KINDS = {
    "none last": [*SEVERAL, "None of the above"],
    "four": SEVERAL,
    "three": SEVERAL[:3],
    "refers": ["iron", "gold", "A and B"],
    "six": [*SEVERAL, "tin", "silver"],
}


def shifted_sets(options: Mapping[str, list[str]], shifts: int) -> dict[str, pd.DataFrame]:
    """Return the questions and their shifts."""
    plain = pd.DataFrame({"question_id": [*options], "options": [*options.values()], "gold": 0})
    changed = {f"toy_shift_{n}": vary(plain, f"shift_{n}", 1) for n in range(1, shifts + 1)}  # type: ignore[arg-type]
    return {"toy": plain, **changed}


def shifts_of(options: Mapping[str, list[str]], right: NDArray[Any], reading: str = "correct") -> dict[str, Any]:
    """Return the record of shifts; `right`: shape (orders, questions)."""
    tables = shifted_sets(options, len(right) - 1)
    frames = [
        pd.DataFrame(
            {"question_id": [*options], "benchmark": name, "mode": "cot", "letter": "A", "answered": "iron"}
        ).assign(correct=row.astype(bool), lenient_correct=row.astype(bool))
        for name, row in zip(tables, right, strict=True)
    ]
    sets = {name: ("toy", None if name == "toy" else name.removeprefix("toy_")) for name in tables}
    one = ComparisonDesign(**{**asdict(design(sets=sets)), "models": {"base": ["base"]}, "modes": {"base": ["cot"]}})
    clusters = pd.DataFrame({"question_id": [*options], "cluster": [*options]})
    (found,) = compare_shifts({"base": pd.concat(frames)}, tables, clusters, one, 500, 1)
    return found


@pytest.mark.parametrize(("kind", "orders"), [("none last", 4), ("four", 4), ("three", 3), ("refers", 1), ("six", 5)])
def test_only_different_orders_count_as_independent(kind: str, orders: int) -> None:
    """With four shifts; "None of the above" stays last, and options that refer to others are not shifted."""
    n = 4000
    options = {f"{kind} {number}": KINDS[kind] for number in range(n)}
    right = np.random.default_rng(1).random((5, n)) < 0.6
    right[orders:] = right[0]
    found = shifts_of(options, right)
    assert found["independent"] == pytest.approx(0.6**orders, abs=0.03)
    assert abs(found["excess"]) < 0.03 and found["excess_low"] <= found["excess"] <= found["excess_high"]
    assert found["complete"] == (kind != "six")


def test_the_excess_shows_answers_that_do_not_depend_on_the_order() -> None:
    options = {f"{kind} {number}": KINDS[kind] for kind in ("four", "none last", "refers") for number in range(50)}
    right = np.tile(np.random.default_rng(1).random(150) < 0.6, (5, 1))
    found = shifts_of(options, right)
    assert found["robust"] == found["accuracy"] and found["excess_low"] > 0.2
    everything = shifts_of(options, np.ones((5, 150)))
    assert (everything["robust"], everything["high"], everything["excess"]) == (1, 1, 0) and everything["low"] < 0.98
