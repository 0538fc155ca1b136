"""The grader's decisions: the golden file, and what holds for any text."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import hypothesis
import pytest
from growth import growth
from hypothesis import given
from hypothesis import strategies as st

from medrlvr.data.prompts import Renderer
from medrlvr.grading.grader import Grade, Rule, grade, think_text
from medrlvr.grading.letters import LETTERS

GOLDEN = [json.loads(line) for line in Path("tests/golden/grades.jsonl").read_text(encoding="utf-8").splitlines()]
OPTIONS = ["iron", "gold", "zinc", "lead"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["reason"])
def test_golden(case: dict[str, object]) -> None:
    found = asdict(grade(case["response"], case["options"], case["gold"], case["form"], truncated=case["truncated"]))
    assert {name: found[name] for name in case["expected"]} == case["expected"]


@pytest.mark.parametrize(
    ("answer", "letter", "rule"),
    [
        ("A. iron B. gold C. zinc D. lead", None, "several_letters"),
        ("(A) iron (B) gold (C) zinc (D) lead", None, "several_letters"),
        ("A: iron B: gold", None, "several_letters"),
        ("A. iron, for vitamin B. It is low", "A", "letter_and_text"),
        ("A. iron, not D. lead", None, "several_letters"),
        # Only the option's own text is skipped, not another text of its length.
        ("A. or, D. lead", None, "several_letters"),
        ("A. iron; A) iron it is", "A", "letter_and_text"),
        # Another option directly after the letter's mark.
        ("A.;B) gold it is not", None, "several_letters"),
    ],
)
def test_options_repeated_on_one_line_are_not_an_answer(answer: str, letter: str | None, rule: str) -> None:
    found = grade(f"<think> four </think><answer>{answer}</answer>", ["iron", "gold", "zinc", "lead"], 0)
    assert (found.letter, found.rule) == (letter, rule)


def test_an_option_without_a_text_is_not_named_by_any_text() -> None:
    assert grade("The answer is B maybe", ["", ""], 1).lenient_letter is None
    assert grade("The answer is B maybe", ["", "maybe"], 1).lenient_letter == "B"


def test_tags_are_searched_by_default() -> None:
    for response in ("<think></think><answer>C</answer>", "C"):
        assert grade(response, OPTIONS, 2) == grade(response, OPTIONS, 2, "tagged", truncated=False)
    assert grade("C", OPTIONS, 2) != grade("C", OPTIONS, 2, "bare")


def test_the_golden_file_is_complete() -> None:
    assert len(GOLDEN) >= 250
    assert len({case["reason"] + case["response"] for case in GOLDEN}) == len(GOLDEN)
    assert all(case["expected"] for case in GOLDEN)
    assert {name for case in GOLDEN for name in case["expected"]} == set(Grade.__dataclass_fields__)


# Pieces that the grader looks for, between any text.
PIECES = [
    "<think>",
    "</think>",
    "<answer>",
    "</answer>",
    "C",
    "A ",
    "(B)",
    "**D**",
    ".",
    ":",
    "\n",
    " ",
    "answer is ",
    "zinc",
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=20).map("".join)
ANSWERS = [" C ", "(b)", "**A**.", "D: lead", "A. iron", "H", "A) B)", "A or B", "not C", "C</answer><answer>B"]
# Pieces alone seldom make two blocks, and their answers seldom a letter.
blocks = st.builds(
    "{}<think>{}</think>{}<answer>{}</answer>{}".format,
    st.just("") | texts,
    texts,
    st.sampled_from(["", " ", "\n", "</think>"]),
    st.sampled_from(ANSWERS) | texts,
    st.just("") | texts,
)
responses = texts | blocks | st.sampled_from(ANSWERS)
forms = st.sampled_from(["tagged", "bare"])
options_of_any_kind = st.lists(st.text(max_size=8), min_size=2, max_size=11)


@pytest.mark.parametrize("rule", sorted({*get_args(Rule)} - {"option_text"}))
def test_invented_responses_are_graded_by_every_rule(rule: str) -> None:
    """Else what holds for all of them would hold for want of cases; option_text needs options like letters."""
    assert hypothesis.find(responses, lambda response: grade(response, OPTIONS, 2).rule == rule) is not None


@given(responses, options_of_any_kind, st.data(), forms)
def test_any_text_is_graded_and_the_facts_agree(
    response: str, options: list[str], data: st.DataObject, form: str
) -> None:
    gold = data.draw(st.integers(0, len(options) - 1))
    found = grade(response, options, gold, form)
    assert found.letter is None or found.letter in LETTERS[: len(options)]
    assert (found.letter is None) == (found.rule not in ("letter", "letter_and_text"))
    assert (found.letter is None) == (found.letter_at is None)
    assert found.correct == (found.letter == LETTERS[gold])
    assert not found.strict_format or (found.valid_format and found.chars_before_think == found.chars_after_answer == 0)
    assert found.letter is None or found.lenient_letter == found.letter
    assert found.letter_at is None or response[found.letter_at].upper() == found.letter
    if form == "tagged" and found.letter is not None:
        assert found.valid_format and found.answer_tags == 1
        assert found.answer_start <= found.letter_at < found.answer_end
    if found.think_start is not None:
        assert response[: found.think_start].endswith("<think>")
        assert response[found.think_end :].startswith("</think>")
        assert found.think_chars <= found.think_end - found.think_start
        assert found.valid_format or "</think>" not in response[found.think_start : found.think_end]
    named = [found.option_named_at, found.gold_named_at, found.answer_named_at]
    assert all(place is None or found.option_named_at <= place < max(1, found.think_chars) for place in named)
    assert grade(response, options, gold, form) == found


@given(responses, st.permutations(range(4)))
def test_the_letter_does_not_depend_on_which_option_is_gold(response: str, golds: list[int]) -> None:
    found = {grade(response, OPTIONS, gold).letter for gold in golds}
    assert len(found) == 1


@given(responses)
def test_a_graded_answer_in_a_clean_format_is_read_the_same_again(response: str) -> None:
    """What was read, written out in the plainest way, is read as that."""
    found = grade(response, OPTIONS, 2)
    again = grade(f"<think></think><answer>{found.letter or ''}</answer>", OPTIONS, 2)
    assert (again.letter, again.correct) == (found.letter, found.correct)


@given(responses, st.text(max_size=30))
def test_text_after_the_answer_without_tags_changes_no_letter(response: str, tail: str) -> None:
    before = grade(f"<think>x</think><answer>C</answer>{response.replace('<', '')}", OPTIONS, 2)
    assert (before.letter, before.valid_format) == ("C", True)
    assert grade(f"{tail.replace('<', '')}<think>x</think><answer>C</answer>", OPTIONS, 2).letter == "C"


@pytest.mark.parametrize("template", ["prompts/med_rlvr.txt", "prompts/direct.txt"])
@pytest.mark.parametrize(
    "wrapped", ["{}", "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", "<s>[INST] {} [/INST]"]
)
@given(responses)
def test_the_prompt_does_not_affect_a_grade(template: str, wrapped: str, response: str) -> None:
    """Cut off as in training, special tokens and chat templates with it."""
    from medrlvr.training.rollouts import split_response

    renderer = Renderer("prompts/question.txt", chain_of_thought=template)
    prompt = wrapped.format(renderer.prompt({"stem": "Which?", "options": OPTIONS}, "chain_of_thought"))
    cut, ended = split_response(prompt + response + "<|im_end|>", prompt, "<|im_end|>")
    assert (cut, ended) == (response, "stop")
    assert grade(cut, OPTIONS, 2) == grade(response, OPTIONS, 2)


LISTING = "<think>x</think><answer>A. x{}y</answer>"
"""Text after a letter is searched for other options."""

HOSTILE = [
    "<think>",
    "</think> ",
    "<answer>",
    "</think>" + " " * 50,
    "(*A",
    "answer is A ",
    "option ",
    " ",
    "\n",
    ", ",
    ";\n ",
    " or ",
    "A. ",
    "zinc ",
    "option A b ",
    "say choose ",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=repr)
@pytest.mark.parametrize(
    "around", ["{}", "<think>{}</think><answer>C</answer>", "<think>x</think><answer>{}</answer>", LISTING]
)
def test_time_grows_more_slowly_than_the_square_of_the_length(hostile: str, around: str) -> None:
    """Sixteen times the text takes less than 64 times as long; a square would take 256 times."""
    short, long = (around.format(hostile * (chars // len(hostile))) for chars in (25_000, 400_000))
    assert growth(lambda text: grade(text, OPTIONS, 2), short, long) < 64


def test_the_think_text_has_single_spaces_and_no_empty_lines() -> None:
    response = "so <think> a  b\n\n c </think><answer>C</answer>"
    found = grade(response, ["x", "y", "z"], 2)
    assert think_text(response, found) == "a b\nc"
    assert think_text("C", grade("C", ["x", "y", "z"], 2)) == ""
