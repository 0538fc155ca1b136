"""The waterfall: steps of planted outcomes computed by hand, habits, intervals, the figure and the training rows."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from medrlvr.config.arms import SftArm
from medrlvr.config.design import comparison_design
from medrlvr.config.experiment import Experiment
from medrlvr.config.layout import Layout
from medrlvr.config.load import read_overlays
from medrlvr.data.row_parsing import NONE_OF_THE_ABOVE
from medrlvr.evaluation.other_targets import majority_labels, own_responses, relabelled, wrong_label
from medrlvr.evaluation.score import majority_vote, score_answers
from medrlvr.evaluation.statistics import seed_interval
from medrlvr.evaluation.waterfall import Outcome, habits, measure_waterfall, sum_interval, waterfall_steps
from medrlvr.report.figures.waterfall import draw_waterfall
from medrlvr.runtime.errors import UserError

ROLES = {"format_only": "formatted", "random": "coin", "wrong_label": "wrong"}


def outcome(required: list[float], any_letter: list[float], habit: float = 0.25) -> Outcome:
    return Outcome(np.array(required), np.array(any_letter), np.full(4, habit))


OUTCOMES = {
    "base": [outcome([0, 0, 0, 0], [1, 0, 0, 0], 0.1)],
    "rlvr": [outcome([1, 1, 1, 0], [1, 1, 1, 0], 0.3), outcome([1, 1, 1, 0], [1, 1, 1, 1], 0.3)],
    "formatted": [outcome([1, 0, 0, 1], [1, 0, 0, 1], 0.2)],
    "coin": [outcome([1, 0, 1, 1], [1, 0, 1, 1], 0.2)],
    "wrong": [outcome([0, 0, 0, 0], [0, 0, 0, 0], 0.2)],
}
KNOWN = np.array([1.0, 1.0, 0.0, 0.0])


def values(outcomes: dict, known: np.ndarray | None, roles: dict) -> dict[str, float]:
    return {step.step: step.value for step in waterfall_steps(outcomes, known, "rlvr", roles)}


def test_steps_of_planted_outcomes_are_those_computed_by_hand() -> None:
    found = values(OUTCOMES, KNOWN, ROLES)
    assert found["gain"] == pytest.approx(3 / 4)
    assert found["gain_any"] == pytest.approx(7 / 8 - 1 / 4)
    assert found["reading"] == pytest.approx(3 / 4 - 5 / 8)
    assert found["format"] == pytest.approx(2 / 4 - 1 / 4)
    assert found["habits"] == pytest.approx(0.3 - 0.2)
    # The coin is the best spurious arm: three right, habit 0.2, against two of format_only with the same habit.
    assert found["spurious"] == pytest.approx((3 / 4 - 0.2) - (2 / 4 - 0.2))
    # Beyond habit, RLVR minus coin by question: 1 - 0.3 - (1 - 0.2) = -0.1; 0.9; -0.1; 0.5 - 0.3 - 0.8 = -0.6.
    assert found["known"] == pytest.approx((-0.1 + 0.9) / 4)
    assert found["rest"] == pytest.approx((-0.1 - 0.6) / 4)
    assert sum(found[name] for name in ("reading", "format", "habits", "spurious", "known", "rest")) == pytest.approx(
        found["gain"]
    )
    assert found["least"] == pytest.approx(found["rest"]), "no step before the rest is negative"


def test_a_negative_step_makes_the_rest_larger_and_not_the_least() -> None:
    worse = OUTCOMES | {"coin": [outcome([0, 0, 0, 0], [0, 0, 0, 0], 0.2)]}
    found = values(worse, None, ROLES)
    assert found["spurious"] == pytest.approx(-0.5)
    assert found["rest"] == pytest.approx(7 / 8 - 0.3 + 0.2)
    assert found["least"] == pytest.approx(found["rest"] - 0.5)


@pytest.mark.parametrize(
    ("roles", "known", "names"),
    [
        ({}, KNOWN, {"habits": "format training and option habits", "known": "spurious rewards and known answers"}),
        ({}, None, {"rest": "spurious rewards and known answers and the rest"}),
        (
            {"random": "coin"},
            None,
            {"habits": "format training and option habits", "rest": "known answers and the rest"},
        ),
        (ROLES, KNOWN, {"habits": "option habits", "known": "known answers", "rest": "the rest"}),
    ],
)
def test_the_step_of_an_absent_arm_is_merged_into_the_next_and_named(
    roles: dict, known: np.ndarray | None, names: dict
) -> None:
    steps = {step.step: step for step in waterfall_steps(OUTCOMES, known, "rlvr", roles)}
    assert {name: steps[name].name for name in names} == names
    assert ("format" in steps, "spurious" in steps, "known" in steps) == (
        "format_only" in roles, "random" in roles, known is not None,
    )  # fmt: skip
    parts = [step.value for name, step in steps.items() if name not in ("gain", "gain_any", "least")]
    assert sum(parts) == pytest.approx(0.75)


OPTIONS = [["iron", "gold", "zinc", "lead"]] * 4


def test_a_model_that_always_gives_one_letter_has_the_habit_that_this_letter_earns() -> None:
    found = habits(["A"] * 4, OPTIONS, [0, 0, 1, 2], list("abcd"))
    assert found.tolist() == [1, 1, 0, 0]
    half = habits(["A", "A", None, None], OPTIONS, [0, 0, 0, 0], list("abcd"))
    assert half == pytest.approx([1 / 3, 1 / 3, 2 / 3, 2 / 3]), "the rate of readable letters, on the other questions"
    assert habits([None] * 4, OPTIONS, [0] * 4, list("abcd")).tolist() == [0] * 4


def test_a_preference_for_the_longest_option_or_none_of_the_above_is_a_habit() -> None:
    options = [["a", "bbb", "c"], ["bbb", "a", "c"], ["a", "c", "bbb"], ["a", "bbb", "c"], ["bbb", "a", "c"]]
    longest = [index for row in options for index, text in enumerate(row) if text == "bbb"]
    letters = ["ABC"[index] for index in longest]
    found = habits(letters, options, longest, list("abcde"))
    assert found[[0, 1, 3, 4]].tolist() == [1, 1, 1, 1]
    assert found[2] == pytest.approx(1 / 3), "no other question has its longest option there"
    none = [["a", "b", NONE_OF_THE_ABOVE], ["c", "d", NONE_OF_THE_ABOVE], ["e", "f", "gg"]]
    # Elsewhere it gives "None of the above" always, and A in one of two questions: 1 / (1 + 1/2).
    assert habits(["C", "C", "A"], none, [2, 2, 0], list("abc"))[:2] == pytest.approx([2 / 3, 2 / 3])
    assert habits(["C", "C", "C"], none, [2] * 3, list("abc"))[2] == pytest.approx(1 / 3), "no cell of its own"


def test_a_question_and_its_duplicates_do_not_measure_their_own_habit() -> None:
    alone = habits(["A", "B", "B", "B"], OPTIONS, [0] * 4, list("abcd"))
    paired = habits(["A", "A", "B", "B"], OPTIONS, [0] * 4, list("aabc"))
    assert alone[0] == paired[0] == paired[1] == 0


def test_answers_without_a_preference_earn_what_guessing_does() -> None:
    draw = np.random.default_rng(1)
    gold = draw.integers(0, 4, 2000)
    letters = ["ABCD"[index] for index in draw.integers(0, 4, 2000)]
    found = habits(letters, [OPTIONS[0]] * 2000, gold.tolist(), [str(row) for row in range(2000)])
    assert found.mean() == pytest.approx(0.25, abs=0.01)


def test_the_interval_of_two_arms_is_welchs_and_needs_three_seeds() -> None:
    first, second = [0.5, 0.6, 0.8, 0.7], [0.3, 0.35, 0.2]
    expected = seed_interval(first, second, 0.95)
    assert sum_interval([first, [-value for value in second]], 0.0, 0.95) == pytest.approx(expected)
    alone = seed_interval(first, 0.2, 0.95)
    assert sum_interval([first], -0.2, 0.95) == pytest.approx(alone)
    assert sum_interval([first, [0.1, 0.2]], 0.0, 0.95) is None
    assert sum_interval([[0.5] * 3], 0.25, 0.95) == (0.75, 0.75)


def planted(model: str, right: set[int], form: str) -> pd.DataFrame:
    """Return the scores of one model on 40 questions: wrong ones give the next letter."""
    rows = [
        {
            "benchmark": "miniature", "mode": mode, "question_id": f"q{number}", "sample": 0, "options": 4,
            "gold": number % 4,
            "answered": None, "letter": letter if form == "tagged" or mode != "chain_of_thought" else None,
            "correct": number in right and (form == "tagged" or mode != "chain_of_thought"),
            "lenient_letter": letter, "lenient_correct": number in right, "model": model,
        }
        for mode in ("chain_of_thought", "loglikelihood")
        for number in range(40)
        for letter in ["ABCD"[(number + (number not in right)) % 4]]
    ]  # fmt: skip
    return pd.DataFrame(rows)


def measured() -> tuple[list[dict], list[dict]]:
    experiment = read_overlays(["config/miniature.yaml", "config/controls/waterfall.yaml"])
    right = {"base": 10, "rlvr": 34, "rlvr_format_only": 14, "rlvr_random": 18, "rlvr_majority": 16}
    predictions = {
        f"{arm}/seed1" if arm != "base" else arm: majority_vote(
            planted(arm, set(range(number)), "tagged" if arm != "base" else "bare")
        )
        for arm, number in (right | {"rlvr_wrong_label": 2, "rft": 20}).items()
    }
    ids = [f"q{number}" for number in range(40)]
    table = pd.DataFrame({"question_id": ids, "options": [OPTIONS[0]] * 40, "gold": [row % 4 for row in range(40)]})
    clusters = pd.Series({name: name for name in table["question_id"]})
    design = comparison_design(experiment)
    return measure_waterfall(predictions, {"miniature": table}, clusters, design, experiment.controls.roles, 500, 1)


def test_records_from_scores_add_up_and_are_ready_for_json() -> None:
    steps, arms = measured()
    found = {row["step"]: row for row in steps}
    assert json.loads(json.dumps([steps, arms])) == [steps, arms]
    assert found["gain"]["value"] == pytest.approx(34 / 40) and found["gain_any"]["value"] == pytest.approx(24 / 40)
    order = ["reading", "format", "habits", "spurious", "known", "rest"]
    assert [row["step"] for row in steps] == [*order, "gain", "gain_any", "least"]
    assert sum(found[name]["value"] for name in order) == pytest.approx(34 / 40)
    assert all(row["low"] <= row["value"] <= row["high"] and row["n"] == 40 for row in steps)
    assert found["spurious"]["arms"] == ["rlvr_random", "rlvr_format_only", "rlvr_majority", "rlvr_wrong_label"]
    rft = next(row for row in arms if row["role"] == "rft")
    assert (rft["arm"], rft["seeds"], rft["any_letter"]) == ("rft", 1, 0.5)
    assert (rft["value"], rft["rlvr_minus"]) == (pytest.approx(10 / 40), pytest.approx(14 / 40))
    assert rft["rlvr_low"] < rft["rlvr_minus"] < rft["rlvr_high"]


def test_the_figure_has_a_line_for_each_step_and_arm() -> None:
    steps, arms = measured()
    figure = draw_waterfall(pd.DataFrame(steps), pd.DataFrame(arms), {"miniature": "As in training"})
    (axis,) = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[:2] == ["answer format", "format training"] and labels[-1] == "arm: own responses (rft)"
    bars = list(axis.patches)
    assert len(bars) == len(labels) == 13
    ends = [bar.get_x() + bar.get_width() for bar in bars]
    assert ends[5] == pytest.approx(85) and ends[6] == pytest.approx(85), "the steps end at the gain"
    without = draw_waterfall(pd.DataFrame(steps), pd.DataFrame(), {"miniature": "As in training"})
    assert len(without.axes[0].patches) == 8
    plt.close("all")


def rows(number: int) -> list[dict[str, str]]:
    facts = [{"question_id": f"q{row}", "options": [*"wxyz"], "gold": row % 4} for row in range(number)]
    return [{"input": f"P{row}", "label": json.dumps(one, sort_keys=True)} for row, one in enumerate(facts)]


def test_a_wrong_label_is_fixed_never_right_and_every_other_option_occurs() -> None:
    found = relabelled(rows(400), wrong_label)
    assert found == relabelled(rows(400), wrong_label)
    facts = [json.loads(row["label"]) for row in found]
    before = [json.loads(row["label"]) for row in rows(400)]
    assert [{key: value for key, value in one.items() if key != "label"} for one in facts] == before
    assert [row["input"] for row in found] == [row["input"] for row in rows(400)]
    moved = Counter((one["label"] - one["gold"]) % 4 for one in facts)
    assert set(moved) == {1, 2, 3} and min(moved.values()) > 100


def sampled(responses: list[list[str]], ended: str = "stop") -> pd.DataFrame:
    """Return the scores of samples of the base; the right option of question n is n modulo 4."""
    table = [
        {"benchmark": "train", "mode": "chain_of_thought", "question_id": f"q{number}", "sample": sample,
         "response": text, "finish_reason": ended}
        for number, texts in enumerate(responses)
        for sample, text in enumerate(texts)
    ]  # fmt: skip
    questions = pd.DataFrame(
        [{"benchmark": "train", "question_id": f"q{row}", "options": [*"wxyz"], "gold": row % 4} for row in range(9)]
    )
    return score_answers(pd.DataFrame(table), questions, {"chain_of_thought": "tagged"})


def test_the_majority_label_counts_any_readable_letter_and_the_first_of_ties() -> None:
    tagged = "<think> t </think><answer> {} </answer>".format
    scores = sampled(
        [["The answer is C", tagged("C"), tagged("A")], [tagged("D"), tagged("B"), "?"], ["?", "none", ""]]
    )
    facts = [json.loads(row["label"]) for row in relabelled(rows(3), majority_labels(scores))]
    assert [one["label"] for one in facts[:2]] == [2, 3] and [one["gold"] for one in facts] == [0, 1, 2]
    drawn = Counter(
        majority_labels(scores.assign(question_id=name))({"question_id": name, "options": [*"wxyz"]})
        for name in map(str, range(40))
        for scores in [sampled([["?"]])]
    )
    assert set(drawn) == {0, 1, 2, 3}


def test_own_responses_are_the_right_ones_in_the_required_format_once_each() -> None:
    right, wrong, loose = ("<think> t </think><answer> A </answer>", "<answer> B </answer>", "The answer is A")
    found, counted = own_responses(rows(2), sampled([[right, right, loose, wrong], [right]]))
    assert found == [{"input": "P0", "output": right}]
    assert "1 of 5 samples are kept, right in the required format" in counted and "1 of 2 questions" in counted


def test_without_right_responses_in_the_format_any_readable_letter_counts() -> None:
    found, counted = own_responses(rows(1), sampled([["The answer is A", "The answer is B"]]))
    assert found == [{"input": "P0", "output": "The answer is A"}] and "by any readable letter" in counted
    for scores in (sampled([["The answer is B"]]), sampled([["The answer is A"]], ended="length")):
        with pytest.raises(UserError, match="responses is right and complete"):
            own_responses(rows(1), scores)


OVERLAYS = ["config/controls/waterfall.yaml"]


@pytest.mark.parametrize("files", [OVERLAYS, ["config/miniature.yaml", *OVERLAYS]], ids=["paper", "miniature"])
def test_the_overlays_arms_have_their_rows_and_enough_tokens(files: list[str]) -> None:
    experiment = read_overlays(files)
    rlvr, layout = experiment.arms["rlvr"], Layout(experiment)
    names = {arm: layout.training_rows(arm).partition(f"{experiment.experiment}/")[2] for arm in experiment.arms}
    assert names == {
        "sft": "prompts/sft.jsonl",
        "rlvr": "prompts/rlvr.jsonl",
        "rlvr_format_only": "prompts/rlvr.jsonl",
        "rlvr_random": "prompts/rlvr.jsonl",
        "rlvr_majority": "controls/rows/majority.jsonl",
        "rlvr_wrong_label": "controls/rows/wrong.jsonl",
        "rft": "controls/rows/own_responses.jsonl",
    }
    assert experiment.arms["rft"].max_tokens == rlvr.prompt_max_tokens + rlvr.response_max_tokens
    assert experiment.arms["sft"].max_tokens < experiment.arms["rft"].max_tokens
    own, majority = experiment.base_sampling("own_responses"), experiment.base_sampling("majority")
    assert (own.samples, majority.samples) == (rlvr.episodes * rlvr.samples_per_prompt, 8)
    assert {own.temperature, majority.temperature} == {rlvr.temperature}


def test_the_base_is_sampled_on_the_questions_that_the_arms_use() -> None:
    experiment = read_overlays(OVERLAYS)
    assert experiment.sampled_rows("majority") is None
    few = {name: arm.model_copy(update={"rows": 64}) for name, arm in experiment.arms.items() if arm.trainer == "rlvr"}
    limited = experiment.model_copy(update={"arms": few})
    assert limited.sampled_rows("majority") == limited.sampled_rows("own_responses") == 64


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ("{waterfall: true, waterfall_arms: {random: rlvr}}", "must name an arm with trainer: rlvr and reward: random"),
        (
            "{waterfall: true, waterfall_arms: {rft: sft}}",
            "must name an arm with trainer: sft and targets: own_responses",
        ),
        (
            "{waterfall: true, waterfall_arms: {majority: absent}}",
            "must name an arm with trainer: rlvr and labels: majo",
        ),
        ("{waterfall: true, waterfall_arms: {coin: rlvr}}", "controls.waterfall_arms"),
    ],
)
def test_an_arm_that_does_not_fit_its_role_is_rejected(tmp_path, controls: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"controls: {controls}\n")
    with pytest.raises(UserError, match=message):
        read_overlays([file])


def test_null_removes_an_arm_from_the_waterfall(tmp_path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("controls: {waterfall_arms: {rft: null}}\narms: {rft: null}\n")
    experiment = read_overlays([*OVERLAYS, file])
    assert "rft" not in experiment.controls.roles and "rft" not in experiment.arms
    assert len(experiment.controls.roles) == 4


def test_own_responses_need_no_more_tokens_than_the_arm_allows() -> None:
    arms = Experiment().arms | {"own": SftArm(trainer="sft", targets="own_responses", max_tokens=9999)}
    found = Experiment(arms=arms)
    assert (found.arms["own"].max_tokens, found.arms["sft"].max_tokens) == (9999, SftArm(trainer="sft").max_tokens)
    assert replace(OUTCOMES["base"][0], habit=np.zeros(4)).beyond.tolist() == [1, 0, 0, 0]
