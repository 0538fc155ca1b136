import json
from pathlib import Path

import pandas as pd
import pytest

from medrlvr.evaluation.baselines import trivial_baselines
from medrlvr.evaluation.score import majority_vote, score_answers, summarise
from medrlvr.evaluation.strata import MOST_VALUES, strata
from medrlvr.grading.evidence import COLUMNS, Evidence
from medrlvr.runtime.files import read_parquet, write_parquet

ANSWER_FORMATS = {"direct": "bare", "chain_of_thought": "tagged", "loglikelihood": "bare"}
QUESTIONS = pd.DataFrame(
    {
        "benchmark": "toy",
        "question_id": ["q1", "q2", "q3", "q4"],
        "options": [["iron", "gold", "zinc", "lead"]] * 4,
        "gold": [0, 1, 2, 3],
        "meta": ['{"step": "1"}', '{"step": "1"}', '{"step": "2"}', "{}"],
    }
)
CLUSTERS = pd.DataFrame({"question_id": ["q1", "q2", "q3", "q4"], "repeats": ["q1", "q2", "q1", "q4"]})


def answers(responses: list[str], mode: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "question_id": QUESTIONS["question_id"],
            "benchmark": "toy",
            "mode": mode,
            "sample": 0,
            "response": responses,
            "finish_reason": ["stop", "stop", "stop", "length"],
            "prompt_tokens": 10,
            "response_tokens": [2, 2, 2, 8],
        }
    )


def records(table: pd.DataFrame) -> list[dict]:
    scores = score_answers(table, QUESTIONS, ANSWER_FORMATS)
    return summarise(scores, CLUSTERS, strata(QUESTIONS, trained={0, 1}), 200, seed=1)


def test_a_hand_counted_table() -> None:
    tagged = [
        "<think>x</think><answer>A</answer>",
        "so <think>x</think><answer>A</answer>",
        "The answer is C",
        "I go on and on",
    ]
    [record] = records(answers(tagged, "chain_of_thought"))
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
        "distinct_lenient_accuracy": pytest.approx(1 / 3),
    }
    assert {key: record[key] for key in expected} == expected
    graded = score_answers(answers(tagged, "chain_of_thought"), QUESTIONS, ANSWER_FORMATS)
    assert graded["truncated"].tolist() == [False, False, False, True]
    assert record["accuracy_low"] < 0.25 < record["accuracy_high"]
    assert record["distinct_accuracy_low"] < 1 / 3 < record["distinct_accuracy_high"]
    assert record["letters"] == {
        "A": {"answered": 2, "gold": 1},
        "B": {"answered": 0, "gold": 1},
        "C": {"answered": 0, "gold": 1},
        "D": {"answered": 0, "gold": 1},
    }
    strata_of = {(row["stratum"], row["value"]): row for row in record["strata"]}
    assert {key: (row["n"], row["accuracy"], row["lenient_accuracy"]) for key, row in strata_of.items()} == {
        ("gold_letter", "never seen in training"): (2, 0.0, 0.5),
        ("gold_letter", "seen in training"): (2, 0.5, 0.5),
        ("options", "4"): (4, 0.25, 0.5),
        ("step", "1"): (2, 0.5, 0.5),
        ("step", "2"): (1, 0.0, 1.0),
    }


def test_in_a_draw_without_the_first_its_repetition_is_the_first() -> None:
    [record] = records(answers([" A"] * 4, "direct").iloc[1:])
    assert (record["n"], record["distinct_n"]) == (3, 3)


def test_direct_and_constrained_answers_need_no_tags() -> None:
    for mode in ("direct", "loglikelihood"):
        [record] = records(answers([" A", " B", " B", " well"], mode))
        assert (record["accuracy"], record["unparsed"]) == (0.5, 0.25)


def test_an_answer_to_an_unknown_question_is_rejected() -> None:
    with pytest.raises(KeyError, match="q9"):
        score_answers(answers([" A"] * 4, "direct").assign(question_id="q9"), QUESTIONS, ANSWER_FORMATS)


def test_a_control_is_graded_by_its_own_options() -> None:
    turned = QUESTIONS.assign(
        benchmark="toy_shuffled", options=[["lead", "zinc", "gold", "iron"]] * 4, gold=[3, 2, 1, 0]
    )
    both = pd.concat([answers([" A"] * 4, "direct"), answers([" D"] * 4, "direct").assign(benchmark="toy_shuffled")])
    scores = score_answers(both, pd.concat([QUESTIONS, turned]), ANSWER_FORMATS)
    assert scores["answered"].tolist() == ["iron"] * 8
    assert scores.groupby("benchmark")["correct"].sum().to_dict() == {"toy": 1, "toy_shuffled": 1}


def check(stem: str, _: object, response: str, __: object) -> Evidence:
    return Evidence(1, int("rust" in response), None, False, "C" in response or None, reasons=stem in response)


def test_reasoning_is_checked_in_modes_with_tags_only() -> None:
    responses = ["so iron: A", "rust: A", "<think>iron</think><answer>C</answer>", "iron, rust"]
    both = pd.concat([answers(responses, mode) for mode in ("chain_of_thought", "direct")], ignore_index=True)
    scores = score_answers(both, QUESTIONS.assign(stem="iron"), ANSWER_FORMATS, check)
    tagged = scores[scores["mode"] == "chain_of_thought"]
    assert tagged["evidence_invented"].tolist() == [0, 1, 0, 1]
    assert tagged["reasons"].tolist() == [True, False, True, True]
    assert tagged["evidence_fact"].isna().tolist() == [True, True, False, True]
    assert scores.loc[scores["mode"] == "direct", [*COLUMNS]].isna().all(axis=None)
    unknown = score_answers(both, QUESTIONS.assign(stem="iron"), ANSWER_FORMATS, lambda *_: None)
    assert unknown[[*COLUMNS]].isna().all(axis=None)
    found = {row["mode"]: row for row in summarise(scores, CLUSTERS, strata(QUESTIONS, {0, 1}), 200, seed=1)}
    assert (found["chain_of_thought"]["invented"], found["chain_of_thought"]["reasons"]) == (0.5, 0.75)
    assert (found["direct"]["invented"], found["direct"]["reasons"]) == (None, None)


def test_evidence_is_the_same_from_disk(tmp_path: Path) -> None:
    both = pd.concat([answers(["iron"] * 4, mode) for mode in ("chain_of_thought", "direct")], ignore_index=True)
    scores = score_answers(both, QUESTIONS.assign(stem="iron"), ANSWER_FORMATS, check)
    write_parquet(tmp_path / "scores.parquet", scores)
    pd.testing.assert_frame_equal(read_parquet(tmp_path / "scores.parquet")[[*COLUMNS]], scores[[*COLUMNS]])


def test_reasoning_that_cannot_be_checked_has_no_columns_and_no_shares() -> None:
    scores = score_answers(answers(["iron"] * 4, "chain_of_thought"), QUESTIONS, ANSWER_FORMATS)
    assert not {*COLUMNS} & {*scores}
    [record] = records(answers(["iron"] * 4, "chain_of_thought"))
    assert (record["invented"], record["reasons"]) == (None, None)


def sampled(*responses: str) -> pd.DataFrame:
    """Samples of one question, whose right letter is B."""
    rows = [answers([text] * 4, "direct").iloc[[1]].assign(sample=number) for number, text in enumerate(responses)]
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize(
    ("responses", "letter"),
    [
        ([" A", " B", " B"], "B"),
        ([" A", " B", " B", " A"], "A"),  # of equals the first
        ([" well", " hm", " B"], "B"),  # a response without a letter has no vote
        ([" well", " hm"], None),
    ],
)
def test_most_samples_decide(responses: list[str], letter: str | None) -> None:
    scores = score_answers(sampled(*responses), QUESTIONS, ANSWER_FORMATS)
    [decided] = majority_vote(scores).to_dict("records")
    assert (decided["letter"] or None) == letter and decided["correct"] == (letter == "B")
    [record] = records(sampled(*responses))
    assert (record["n"], record["samples"], record["accuracy"]) == (1, len(responses), float(letter == "B"))
    assert record["sample_accuracy"] == sum(text == " B" for text in responses) / len(responses)


def test_columns_with_too_many_values_or_lists_are_not_strata() -> None:
    many = pd.concat([QUESTIONS] * 10, ignore_index=True)
    many = many.assign(
        question_id=[f"q{i}" for i in range(40)],
        meta=[json.dumps({"id": i, "source": i % MOST_VALUES, "flags": ["odd"]}) for i in range(40)],
    )
    found = strata(many, trained={0})
    assert set(found["stratum"]) == {"options", "gold_letter", "source"}
    assert found.groupby("stratum").size().to_dict() == {"gold_letter": 40, "options": 40, "source": 40}


def test_the_accuracies_of_policies_without_knowledge() -> None:
    questions = pd.DataFrame(
        {
            "question_id": ["q1", "q2", "q3", "q4"],
            "options": [["a", "bb"], ["aaa", "b", "c"], ["a", "bb", "cc", "d"], ["a", "b"]],
            "gold": [1, 0, 2, 0],
        }
    )
    divided = pd.DataFrame({"question_id": ["q1", "q2", "q4"], "stratum": "options", "value": ["2", "10", "2"]})
    found = trivial_baselines(questions, [2, 2, 0], divided)
    always_a = next(row for row in found if row["policy"] == "always A")
    assert always_a["strata"] == [
        {"stratum": "options", "value": "2", "n": 2, "accuracy": 0.5},
        {"stratum": "options", "value": "10", "n": 1, "accuracy": 1.0},
    ]
    rows = {row["policy"]: row["accuracy"] for row in found}
    assert rows == {
        "uniform random": pytest.approx((1 / 2 + 1 / 3 + 1 / 4 + 1 / 2) / 4),
        "longest option": 0.75,  # of equals the first
        "training's most frequent letter, C": 0.25,
        "always A": 0.5,
        "always B": 0.25,
        "always C": 0.25,
        "always D": 0.0,
    }
