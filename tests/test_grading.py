"""The grader's decisions, one case a line; the golden file of a later issue widens this."""

import pytest

from medrlvr.grading import grade
from medrlvr.prompts import LETTERS
from medrlvr.rewards import find

OPTIONS = ["iron", "gold", "zinc", "lead"]


def tagged(answer: str, think: str = "because") -> str:
    return f" <think> {think} </think> <answer>{answer}</answer>"


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("C", "C"),
        (" C ", "C"),
        ("(C)", "C"),
        ("**C**", "C"),
        ("c", "C"),
        ("C.", "C"),
        ("C: Cholesterol embolization", "C"),
        ("C\nbecause", "C"),
        ("A thiazide diuretic", None),
        ("I think B", None),
        ("answer here", None),
        ("A or B", None),
        ("not C", None),
        ("E", None),
        ("", None),
        ("zinc", None),
    ],
)
def test_letter_in_the_answer_block(answer: str, letter: str | None) -> None:
    assert grade(tagged(answer), OPTIONS, 2).letter == letter


@pytest.mark.parametrize(
    ("response", "valid", "strict"),
    [
        (tagged("B"), True, True),
        ("\n<think></think><answer>B</answer>\n", True, True),
        ("First some reasoning." + tagged("B"), True, False),
        (tagged("B") + " User: another question", True, False),
        (tagged("B") + tagged("B"), True, False),
        ("<think> a <answer>B</answer>", False, False),
        ("<think> a </think> so <answer>B</answer>", False, False),
        ("<think> a </think><answer>B", False, False),
        ("<answer>B</answer><think> a </think>", False, False),
        ("The answer is B", False, False),
        ("", False, False),
    ],
)
def test_format(response: str, valid: bool, strict: bool) -> None:
    found = grade(response, OPTIONS, 1)
    assert (found.valid_format, found.strict_format) == (valid, strict)


def test_two_answer_blocks_are_unparsed() -> None:
    assert grade(tagged("A") + tagged("B"), OPTIONS, 1).letter is None


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        (" The drug is gold. Gold is option B.", "B"),
        ("One might say the answer is A, but the answer is (C).", "C"),
        ("an answer: a good one", None),
        ("It is gold.", None),
    ],
)
def test_lenient_letter_of_untagged_text(response: str, letter: str | None) -> None:
    found = grade(response, OPTIONS, 1)
    assert found.lenient_letter == letter
    assert found.letter is None


@pytest.mark.parametrize(("response", "letter"), [(" B", "B"), (" B. gold", "B"), (" Because", None), (" E", None)])
def test_bare_answer(response: str, letter: str | None) -> None:
    assert grade(response, OPTIONS, 1, form="bare").letter == letter


def test_only_the_letters_of_the_question_count() -> None:
    eleven = [f"option {i}" for i in range(11)]
    assert [grade(tagged(letter), eleven, 0).letter for letter in LETTERS] == list(LETTERS)
    assert grade(tagged("C"), OPTIONS[:2], 0).letter is None


@pytest.mark.parametrize(
    ("response", "reward"),
    [(tagged("B"), 1.0), (tagged("A"), 0.0), (tagged("?"), 0.0), ("B", -1.0), ("Well." + tagged("B"), 1.0)],
)
def test_paper_reward(response: str, reward: float) -> None:
    assert find("paper")(grade(response, OPTIONS, 1)) == reward


def test_lengths_are_measured() -> None:
    found = grade("Well, gold." + tagged("B", think="gold"), OPTIONS, 1)
    assert (found.chars_before_think, found.think_chars) == (len("Well, gold."), len(" gold "))


@pytest.mark.parametrize("hostile", ["<think>", "</think> ", "<answer>", "</think>" + " " * 50, "(*A"])
def test_a_megabyte_of_anything_is_graded(hostile: str) -> None:
    assert grade(hostile * (1_000_000 // len(hostile)), OPTIONS, 1).letter is None
