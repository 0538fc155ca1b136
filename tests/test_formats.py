"""Other answer formats and remembered questions, by planted responses."""

from pathlib import Path

import pandas as pd
import pytest

from medrlvr.evaluation.formats import (
    FORMATS,
    accuracy_without_remembered,
    format_differences,
    format_matrix,
    format_requests,
    grade_formats,
    is_remembered,
    memory_requests,
)
from medrlvr.grading.open_answers import names_only

BASE = Path("assets/miniature_base")
OPTIONS = ["iron", "gold", "white gold", "E. coli"]
TEMPLATES = {name: f"prompts/med_rlvr{'' if name == 'tags' else '_' + name}.txt" for name in FORMATS}
QUESTIONS = pd.DataFrame(
    [
        {"benchmark": "b", "question_id": f"q{row}", "stem": f"Stem {{{row}}}?", "options": OPTIONS, "gold": 1}
        for row in (0, 1)
    ]
)


def test_each_model_has_each_question_in_each_format_and_open_shows_no_option() -> None:
    asked = format_requests(QUESTIONS, "prompts/question.txt", TEMPLATES, ["m/base", "m/rlvr"], 64)
    assert len(asked) == 2 * 2 * 4 and set(asked["model"]) == {"m/base", "m/rlvr"}
    prompts = asked[(asked["model"] == "m/base") & (asked["question_id"] == "q1")].set_index("mode")["prompt"]
    assert all("Stem {1}?" in prompt and prompt.endswith("Assistant:") for prompt in prompts)
    shown = {mode: "\nB. gold\nC. white gold" in prompt for mode, prompt in prompts.items()}
    assert shown == {"tags": True, "boxed": True, "answer_line": True, "open": False}
    assert "Options" not in prompts["open"] and "letter" not in prompts["open"]
    assert r"\boxed{answer here}" in prompts["boxed"]


def test_the_base_continues_after_the_letter_of_the_second_option() -> None:
    asked = memory_requests(QUESTIONS, "prompts/question.txt", BASE)
    assert asked["prompt"].str.endswith("Options:\nA. iron\nB.").all()
    assert asked["model"].unique().tolist() == [str(BASE)] and asked["max_tokens"].gt(4).all()


@pytest.mark.parametrize(
    ("continuation", "remembered"),
    [
        (" gold\nC. white gold\nD. E. coli", True),
        (" Gold\n C. White  gold\nD. E. coli\nAnswer: B", True),
        (" gold\nC. white gold\nD. E. colitis", False),
        (" gold\nC. white gold", False),
        (" white gold\nC. gold\nD. E. coli", False),
    ],
)
def test_a_question_is_remembered_only_word_for_word(continuation: str, remembered: bool) -> None:
    assert is_remembered(continuation, OPTIONS) == remembered


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("<think> iron? </think><answer> Gold </answer>", True),
        ("It is gold.", True),
        ("It is iron or gold.", False),
        ("It is white gold.", False),
        ("golden", False),
        ("", False),
        ("GOLD\n of the mine", True),
        ("It is gold.\nUser: And iron?\nAssistant: iron", True),
        ("\nUser: gold", False),
        ("<answer> iron </answer> <answer> gold </answer>", True),
        ("e.  coli and gold", False),
        ("\u017folid gold", True),
    ],
)
def test_an_open_answer_names_the_right_option_alone(response: str, right: bool) -> None:
    assert names_only(response, OPTIONS, 1) == right


RESPONSES = {
    "tags": "<think> x </think> <answer> B </answer>",
    "boxed": r"so \boxed{B}",
    "answer_line": "so\nAnswer: B",
    "open": "<answer> gold </answer>",
    "memory": " gold\nC. white gold\nD. E. coli",
}


def graded(right: dict[str, int], n: int = 20, model: str = "m/base") -> pd.DataFrame:
    """Return the grades of answers of which the first `right` of each mode are right, and remembered."""
    rows = [
        {"model": model, "benchmark": "b", "question_id": f"q{row}", "mode": mode,
         "response": RESPONSES[mode] if row < number else "?"}
        for mode, number in right.items()
        for row in range(n)
    ]  # fmt: skip
    questions = pd.DataFrame(
        [{"benchmark": "b", "question_id": f"q{row}", "options": OPTIONS, "gold": 1} for row in range(n)]
    )
    return grade_formats(pd.DataFrame(rows), questions)


def test_the_matrix_counts_what_each_format_requests() -> None:
    clusters = pd.Series({f"q{row}": row for row in range(20)})
    right = {"tags": 20, "boxed": 10, "answer_line": 5, "open": 2, "memory": 0}
    records = {one["format"]: one for one in format_matrix(graded(right), clusters, 300, 1)}
    assert {name: one["accuracy"] for name, one in records.items()} == {
        "tags": 1, "boxed": 0.5, "answer_line": 0.25, "open": 0.1, "memory": 0,
    }  # fmt: skip
    assert records["boxed"]["low"] < 0.5 < records["boxed"]["high"] and records["boxed"]["n"] == 20
    assert records["tags"]["low"] == pytest.approx(0.839, abs=1e-3) and records["tags"]["high"] == 1, "Wilson's"
    assert {name: one["followed"] for name, one in records.items()} == {
        "tags": 1, "boxed": 0.5, "answer_line": 0.25, "open": 0, "memory": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "response", "followed"),
    [
        ("tags", "<think> a </think><answer> B </answer>", True),
        ("tags", "so \\boxed{B}", False),
        ("boxed", "so \\boxed{B}", True),
        ("boxed", "<think> a </think><answer> B </answer>", False),
        ("answer_line", "so\n**Answer:** B", True),
        ("answer_line", "<think> a </think><answer> B </answer> Answer: B", False),
        ("open", "<think> a </think><answer> gold </answer>", True),
        ("open", "gold", False),
    ],
)
def test_whether_a_response_is_in_the_requested_format(mode: str, response: str, followed: bool) -> None:
    answers = pd.DataFrame([{"model": "m", "benchmark": "b", "question_id": "q0", "mode": mode, "response": response}])
    assert grade_formats(answers, QUESTIONS)["followed"].tolist() == [followed]


def test_the_difference_from_the_base_is_paired_and_needs_more_than_few_questions() -> None:
    clusters = pd.Series({f"q{row}": row for row in range(20)})
    models = {"m/base": 4, "m/one": 12, "m/two": 8}
    tables = [graded({"tags": right, "memory": 0}, model=model) for model, right in models.items()]
    (found,) = format_differences(pd.concat(tables), ["m/one", "m/two"], "m/base", clusters, 300, 1)
    assert (found["format"], found["n"], found["seeds"], found["value"]) == ("tags", 20, 2, pytest.approx(0.3))
    assert found["low"] > 0 and found["p"] == 2 / 2**8, "8 questions are better, none is worse"
    few = [graded({"tags": right}, model=model) for model, right in {"m/base": 4, "m/one": 8}.items()]
    (found,) = format_differences(pd.concat(few), ["m/one"], "m/base", clusters, 2000, 1)
    assert found["low"] > 0 and found["p"] == 0.125, "the bootstrap alone would find a difference"


def test_accuracy_with_and_without_remembered_questions() -> None:
    right = [row < 10 or row == 15 for row in range(20)]
    scores = {
        "rlvr": pd.DataFrame(
            {"benchmark": "b", "question_id": [f"q{row}" for row in range(20)], "lenient_correct": right}
        )
    }
    (found,) = accuracy_without_remembered(graded({"memory": 10}), scores)
    assert (found["remembered"], found["of_remembered"], found["of_others"]) == (10, 1, 0.1)
    assert found["accuracy"] == 0.55
    (few,) = accuracy_without_remembered(graded({"memory": 9}), scores)
    assert (few["remembered"], few["of_remembered"], few["of_others"]) == (9, None, None)
