import pandas as pd
import pytest

from medrlvr.evaluation.compare import compare_models
from medrlvr.evaluation.score import score_answers, summarise

QUESTIONS = pd.DataFrame(
    {
        "question_id": ["q1", "q2", "q3", "q4"],
        "options": [["iron", "gold", "zinc", "lead"]] * 4,
        "gold": [0, 1, 2, 3],
    }
)
CLUSTERS = pd.DataFrame({"question_id": ["q1", "q2", "q3", "q4"], "repeats": ["q1", "q2", "q1", "q4"]})


def answers(responses: list[str], mode: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "question_id": QUESTIONS["question_id"],
            "benchmark": "toy",
            "mode": mode,
            "response": responses,
            "finish_reason": ["stop", "stop", "stop", "length"],
            "prompt_tokens": 10,
            "response_tokens": [2, 2, 2, 8],
        }
    )


def test_a_hand_counted_table() -> None:
    tagged = [
        "<think>x</think><answer>A</answer>",
        "so <think>x</think><answer>A</answer>",
        "The answer is C",
        "I go on and on",
    ]
    [record] = summarise(score_answers(answers(tagged, "chain_of_thought"), QUESTIONS), CLUSTERS, 200, seed=1)
    expected = {
        "benchmark": "toy",
        "mode": "chain_of_thought",
        "n": 4,
        "accuracy": 0.25,
        "lenient_accuracy": 0.5,
        "unparsed": 0.5,
        "valid_format": 0.5,
        "strict_format": 0.25,
        "truncated": 0.25,
        "mean_tokens": 3.5,
        "chance": 0.25,
        # Without q3, which repeats q1.
        "distinct_n": 3,
        "distinct_accuracy": pytest.approx(1 / 3),
    }
    assert {key: record[key] for key in expected} == expected
    graded = score_answers(answers(tagged, "chain_of_thought"), QUESTIONS)
    assert graded["truncated"].tolist() == [False, False, False, True]
    assert record["accuracy_low"] < 0.25 < record["accuracy_high"]
    assert record["distinct_low"] < 1 / 3 < record["distinct_high"]


def test_of_a_draw_without_the_first_its_repetition_is_the_first() -> None:
    scores = score_answers(answers([" A"] * 4, "direct"), QUESTIONS)
    [record] = summarise(scores[scores["question_id"] != "q1"], CLUSTERS, 200, seed=1)
    assert (record["n"], record["distinct_n"]) == (3, 3)


def test_direct_answers_need_no_tags() -> None:
    [record] = summarise(
        score_answers(answers([" A", " B", " B", " well"], "direct"), QUESTIONS), CLUSTERS, 200, seed=1
    )
    assert (record["accuracy"], record["unparsed"]) == (0.5, 0.25)


def test_an_answer_to_an_unknown_question_is_refused() -> None:
    with pytest.raises(KeyError, match="q9"):
        score_answers(answers([" A"] * 4, "direct").assign(question_id="q9"), QUESTIONS)


def test_models_are_paired_by_question_and_not_by_row() -> None:
    good = score_answers(answers([" A", " B", " C", " A"], "direct"), QUESTIONS)
    bad = score_answers(answers([" A", " A", " A", " D"], "direct"), QUESTIONS).iloc[::-1]
    [record] = compare_models({"bad": bad, "good": good}, 100, seed=1)
    assert (record["first"], record["second"], record["n"]) == ("good direct", "bad direct", 4)
    assert (record["only_first"], record["only_second"], record["difference"]) == (2, 1, 0.25)
