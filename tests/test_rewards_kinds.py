"""Rewards for questions whose answer is a number or a short text."""

import pytest
from test_rewards import VALUES

from medrlvr.grading.kinds import Kind, NumberKey, TextKey, grade_answer
from medrlvr.grading.reward_config import Setting, load_reward, reward_source
from medrlvr.grading.rewards import NEEDED_KIND, NUMBER_REWARDS, REWARDS
from medrlvr.runtime.errors import UserError

KEYS = {"number": (NumberKey(100, relative=0.05), "100", "80"), "text": (TextKey(("iron",)), "iron", "zinc")}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize(("name", "values"), VALUES)
def test_the_terms_have_the_same_values_for_every_kind(kind: Kind, name: str, values: list[float]) -> None:
    key, right, wrong = KEYS[kind]
    responses = [f"<think>so</think><answer>{answer}</answer>" for answer in (right, wrong, "?")]
    reward = load_reward(name, kind=kind)
    assert [reward(grade_answer(response, key)) for response in [*responses, right]] == values


@pytest.mark.parametrize("kind", KEYS)
def test_penalties_for_structure_and_length_apply_to_every_kind(kind: Kind) -> None:
    key, right, _ = KEYS[kind]
    reward = load_reward({"paper": 1, "short_cot_penalty": 0.5, "structure_penalty": 0.25}, kind=kind)
    found = grade_answer(f"Steps <think>so</think><answer>{right}</answer>", key)
    assert reward.parts(found) == {"paper": 1.0, "short_cot_penalty": -0.5, "structure_penalty": -0.25}


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("100", 1.0),
        ("105", 1.0),
        ("110", 0.5),
        ("90", 0.5),
        ("111", 0.25),
        ("125", 0.25),
        ("126", 0.0),
        ("-100", 0.0),
        ("about 100", 0.0),
    ],
)
def test_where_each_step_of_the_graded_reward_ends(answer: str, value: float) -> None:
    found = grade_answer(f"<think>so</think><answer>{answer}</answer>", KEYS["number"][0])
    assert load_reward("graded", kind="number")(found) == value


def test_the_graded_reward_needs_the_format_and_an_error_that_is_defined() -> None:
    reward = load_reward("graded", kind="number")
    assert reward(grade_answer("100", NumberKey(100))) == -1.0
    assert reward(grade_answer("<think>so</think><answer>0.001</answer>", NumberKey(0))) == 0.0


def test_the_steps_of_the_graded_reward_come_from_the_setting() -> None:
    reward = load_reward({"graded": {"half_within": 0.2, "quarter_within": 0.5}}, kind="number")
    values = [reward(grade_answer(f"<think>so</think><answer>{n}</answer>", NumberKey(100))) for n in (120, 150, 151)]
    assert values == [0.5, 0.25, 0.0]


@pytest.mark.parametrize(
    ("setting", "kind", "needed"),
    [
        ("graded", "letter", "letter"),
        ("graded", "text", "text"),
        ({"paper": 1, "leak_penalty": 0.5}, "number", "number"),
        ({"paper": 1, "leak_penalty": 0.5}, "text", "text"),
    ],
)
def test_a_term_of_another_kind_is_rejected_with_a_message(setting: Setting, kind: Kind, needed: str) -> None:
    with pytest.raises(UserError, match=rf"arms\.rlvr\.reward: .* are of the kind {needed}\. Remove this term"):
        load_reward(setting, "arms.rlvr.reward", kind)


def test_every_term_of_one_kind_is_a_term() -> None:
    assert set(NEEDED_KIND) <= set(REWARDS) | set(NUMBER_REWARDS)
    assert not set(NUMBER_REWARDS) & set(REWARDS)
    assert "half_within" in reward_source("graded")
