"""pass@k and maj@k of planted samples."""

import json
import math
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from medrlvr.config.evaluation import Mode
from medrlvr.evaluation.repeated import (
    compare_repeated,
    guessing_at_k,
    majority_at_k,
    measure_samples,
    pass_at_k,
    powers_of_two,
    question_values,
    sampling_requests,
    summarise_repeated,
)
from medrlvr.report.figures.repeated import draw_repeated


def test_the_estimate_is_the_share_of_all_subsets_with_a_right_sample() -> None:
    right = [True, False, False, True, False]
    for k in range(1, 6):
        subsets = [any(chosen) for chosen in combinations(right, k)]
        assert pass_at_k(2, 5, k) == pytest.approx(np.mean(subsets))
    assert (pass_at_k(0, 5, 5), pass_at_k(5, 5, 1)) == (0, 1)


def test_samples_that_guess_are_on_the_guessing_curve() -> None:
    drawn = np.random.default_rng(1).binomial(64, 1 / 5, 4000)
    for k in (1, 4, 16):
        assert np.mean([pass_at_k(int(c), 64, k) for c in drawn]) == pytest.approx(guessing_at_k(5, k), abs=0.01)
    assert guessing_at_k(5, 2) == pytest.approx(0.36)


def test_powers_of_two_end_with_the_number_of_samples() -> None:
    assert (powers_of_two(64), powers_of_two(6), powers_of_two(1)) == ([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 6], [1])


def test_the_majority_is_that_of_subsets_and_ties_share_the_vote() -> None:
    votes, gold = np.array([0, 0, 1, -1, 0, 1]), 0
    found = majority_at_k(votes, gold, [1, 2, 4, 6], np.random.default_rng(1))
    for k, share in zip([1, 2, 4, 6], found, strict=True):
        exact = []
        for chosen in combinations(votes, k):
            counts = {letter: chosen.count(letter) for letter in (0, 1)}
            leading = [letter for letter, count in counts.items() if count == max(counts.values()) > 0]
            exact.append((gold in leading) / max(len(leading), 1))
        assert share == pytest.approx(np.mean(exact), abs=0.08)
    assert found[-1] == 1, "all six samples have one majority"
    assert majority_at_k(np.array([-1, -1]), 1, [1, 2], np.random.default_rng(1)) == [0, 0]
    assert majority_at_k(np.array([0, 1]), 1, [2], np.random.default_rng(1)) == [0.5]


def scores(right: list[list[bool]], reasons: bool | None = None) -> pd.DataFrame:
    """One row per sample; a right one is A of four options, a wrong one B, and a wrong one has no format."""
    rows = [
        {
            "question_id": f"q{number}", "gold": 0, "options": 4, "correct": one, "lenient_correct": one,
            "letter": "A" if one else None, "lenient_letter": "A" if one else "B",
        }
        for number, samples in enumerate(right)
        for one in samples
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    return table if reasons is None else table.assign(reasons=pd.array([reasons] * len(rows), dtype="boolean"))


def value(records: list[dict], **wanted: object) -> dict:
    (found,) = [one for one in records if all(one[name] == given for name, given in wanted.items())]
    return found


CLUSTERS = pd.Series({f"q{row}": f"q{row}" for row in range(40)})


def test_values_and_intervals_of_planted_samples() -> None:
    half = question_values(scores([[True, False, False, False]] * 20 + [[False] * 4] * 20, reasons=False), 1)
    records = summarise_repeated({"base": [half]}, CLUSTERS, 500, 1)
    for k, expected in ((1, 0.125), (2, 0.25), (4, 0.5)):
        found = value(records, measure="pass", reading="correct", k=k)
        assert found["value"] == pytest.approx(expected) and found["low"] < expected < found["high"]
    assert value(records, measure="pass_reasoned", reading="correct", k=4)["value"] == 0, "its steps are not true"
    assert value(records, measure="guessing", reading="correct", k=4)["value"] == pytest.approx(1 - 0.75**4)
    # Samples without a letter do not vote, so one right sample wins by the required format.
    assert value(records, measure="majority", reading="correct", k=4)["value"] == 0.5
    assert value(records, measure="majority", reading="lenient_correct", k=4)["value"] == 0
    unchecked = question_values(scores([[True]]), 1)
    assert "pass_reasoned" not in set(unchecked["measure"])


def test_the_base_overtakes_only_by_answers_that_reason() -> None:
    always = question_values(scores([[True] * 4] * 20 + [[False] * 4] * 20, reasons=True), 1)
    seldom = question_values(scores([[True, False, False, False]] * 40, reasons=True), 1)
    records = compare_repeated([always], seldom, CLUSTERS, 500, 1)
    assert value(records, measure="pass", reading="correct", k=1)["value"] == pytest.approx(0.25)
    last = value(records, measure="pass_reasoned", reading="correct", k=4)
    assert (last["value"], last["finding"]) == (-0.5, "the base solves more")
    assert value(records, measure="pass", reading="correct", k=4)["finding"] is None
    other = compare_repeated([seldom], always, CLUSTERS, 500, 1)
    assert value(other, measure="pass_reasoned", reading="correct", k=4)["finding"] == "RLVR solves more"
    same = compare_repeated([seldom], seldom, CLUSTERS, 500, 1)
    assert value(same, measure="pass_reasoned", reading="correct", k=4)["finding"] == "open"
    by_luck = question_values(scores([[True, False, False, False]] * 40, reasons=False), 1)
    lucky = compare_repeated([always], by_luck, CLUSTERS, 500, 1)
    assert value(lucky, measure="pass_reasoned", reading="correct", k=4)["finding"] == "RLVR solves more"


@pytest.mark.parametrize(("more", "finding"), [(4, "open"), (5, "open"), (6, "RLVR solves more")])
def test_a_few_questions_that_only_one_model_solves_are_no_finding(more: int, finding: str) -> None:
    """The bootstrap excludes 0 from four on; the exact test needs six."""
    ours, theirs = (
        question_values(scores([[True]] * right + [[False]] * (40 - right), reasons=True), 1)
        for right in (30 + more, 30)
    )
    found = value(compare_repeated([ours], theirs, CLUSTERS, 2000, 1), measure="pass_reasoned", reading="correct", k=1)
    assert found["low"] > 0 and found["p"] == 2 / 2**more and found["finding"] == finding


def test_models_are_measured_by_benchmark_and_arm() -> None:
    good, bad = scores([[True, True]] * 40, reasons=True), scores([[False, True]] * 40, reasons=True)
    both = [
        table.assign(model=name, benchmark="b") for name, table in (("m/base", bad), ("m/r1", good), ("m/r2", good))
    ]
    models = {"m/base": "base", "m/r1": "rlvr", "m/r2": "rlvr"}
    curves, differences = measure_samples(pd.concat(both, ignore_index=True), models, "rlvr", CLUSTERS, 100, 1)
    wanted = {"measure": "pass", "reading": "correct", "k": 1, "benchmark": "b"}
    assert (value(curves, arm="rlvr", **wanted)["value"], value(curves, arm="rlvr", **wanted)["seeds"]) == (1, 2)
    assert value(curves, arm="base", **wanted)["value"] == value(differences, **wanted)["value"] == 0.5
    assert json.loads(json.dumps([curves, differences])) == [curves, differences]


def test_seeds_that_differ_widen_the_interval() -> None:
    tables = [question_values(scores([[share] * 2] * 40), 1) for share in (True, False, True)]
    found = value(summarise_repeated({"rlvr": tables}, CLUSTERS, 100, 1), measure="pass", reading="correct", k=2)
    assert found["seeds"] == 3 and found["value"] == pytest.approx(2 / 3)
    assert found["high"] - found["low"] > 1


def test_each_model_is_sampled_in_its_own_mode() -> None:
    prompts = pd.DataFrame(
        [(f"q{row}", "b", mode, "?", 4, "t") for mode in ("cot", "direct") for row in range(3)],
        columns=["question_id", "benchmark", "mode", "prompt", "options", "template"],
    )
    sampled = {"samples": 64, "temperature": 1.0}
    settings = {
        "cot": Mode(prompt="chain_of_thought", answer_format="tagged", **sampled),
        "direct": Mode(prompt="direct", answer_format="bare", max_tokens=8, **sampled),
    }
    asked = sampling_requests(prompts, {"base": "cot", "sft": "direct"}, settings, 7)
    assert asked.groupby(["model", "mode"]).size().to_dict() == {("base", "cot"): 3, ("sft", "direct"): 3}
    assert set(asked["samples"]) == {64} and asked["seed"].nunique() == len(asked)


def test_the_figure_has_the_guessing_curve_once_and_a_line_for_each_arm() -> None:
    table = question_values(scores([[True, False]] * 40), 1)
    records = [
        {**one, "benchmark": "b"} for one in summarise_repeated({"base": [table], "rlvr": [table]}, CLUSTERS, 50, 1)
    ]
    figure = draw_repeated(pd.DataFrame(records), {"b": "Title"})
    lines = [line.get_label() for line in figure.axes[0].lines]
    plt.close(figure)
    assert sorted(lines) == ["base", "guessing", "rlvr"]
    assert math.isclose(figure.axes[0].lines[-1].get_ydata()[0], 0.25)
