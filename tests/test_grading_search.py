"""The fast searches of the grader return what regular expressions tried at every position return."""

import re
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medrlvr.grading.grader import _squeezed
from medrlvr.grading.patterns import FURTHER_LETTER, NAMED_LETTER, STATEMENTS
from medrlvr.grading.search import (
    find_further_letters,
    find_keyword_pattern,
    find_named_letters,
    find_words,
    fold_case,
)

CASED = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if not character.lower() == character.upper() == character.casefold() == character
]
VARIANTS = "".join(map(chr, (0x130, 0x131, 0x17F, 0x212A, 0xDF, 0x1E9E, 0x3A3, 0x3C2, 0x3C3, 0x1C80, 0x345, 0x149)))


def test_folded_characters_are_equal_if_a_search_that_ignores_case_finds_the_one_in_place_of_the_other() -> None:
    text = "".join(CASED)
    folded = fold_case(text)
    assert len(folded) == len(text) > 2800
    for character, own in zip(text, folded, strict=True):
        found = {match[0] for match in re.finditer(re.escape(character), text, re.IGNORECASE)}
        assert found == {other for other, same in zip(text, folded, strict=True) if same == own}, hex(ord(character))


@given(st.text(), st.text(alphabet=VARIANTS + "isk \n"))
def test_a_folded_text_keeps_its_length_and_white_space(one: str, other: str) -> None:
    for text in (one, other, one + other):
        folded = fold_case(text)
        assert len(folded) == len(text)
        assert [character.isspace() for character in folded] == [character.isspace() for character in text]


words = st.text(alphabet=VARIANTS + "aAiIkKsS_1-. ", min_size=2, max_size=6)


@given(words, st.lists(words, max_size=8), st.sampled_from(["", " ", "\n", "a", "_"]))
@example("aa", ["aaa", "aa"], " ")
@example("kelvin", ["\u212aelvin"], " ")
@example("--", ["a---"], " ")
def test_an_options_text_is_found_where_it_is_as_whole_words(option: str, parts: list[str], between: str) -> None:
    think = _squeezed(between.join([*parts, option.swapcase(), *parts]))
    folded = fold_case(option).split()
    pattern = r"(?<!\w)" + r"\s".join(map(re.escape, option.split())) + r"(?!\w)"
    found = re.search(pattern, think, re.IGNORECASE)
    expected = found.start() if found else None
    assert find_words(" ".join(folded), think, fold_case(think).replace("\n", " ")) == expected


NAMES = [
    *(
        "answer",
        "Answer",
        "option",
        "Choice",
        "letter",
        "choose",
        "It",
        "it",
        " is",
        " would be",
        " should be",
        " must be",
    ),
    *("A", "B", "I", "K", "(", ")", "*", "**", ".", ":", ",", '"', "'", "\u2019", "-", "\n", " ", "\t", "x", "_", "6"),
    *(" is correct", " is the best", " because", " or B", "not ", "patient"),
]
FREQUENT = ["Option ", "It ", "A", "B", "C", " ", "(", ")", ") ", "**", " is", " is correct", ". ", "\n"]
named = st.lists(st.sampled_from(FREQUENT) | st.sampled_from(NAMES) | st.text(max_size=2), min_size=5, max_size=40).map(
    "".join
)


@given(named)
@settings(max_examples=500)
@example("**A**B**")
@example("Option A) x (A) Option A) B) C)")
@example("**A** and **A**B**")
@example("I choose C. (B is correct) (A) is right")
def test_named_letters_are_those_of_the_pattern(text: str) -> None:
    # The second text has so few letters that their surroundings are searched.
    for think in (_squeezed(text), f"{_squeezed(text)}\n{'x' * 32 * len(text)}"):
        expected: dict[str, int] = {}
        for match in NAMED_LETTER.finditer(think):
            expected.setdefault(next(filter(None, match.groups())), match.start())
        assert find_named_letters(think) == expected


STATED = [
    *(
        "answer",
        "ANSWER",
        "an\u017fwer",
        "option",
        "choice",
        "pick",
        "pic\u212a",
        "say",
        "\u017fay",
        "choose",
        "select",
        "take",
    ),
    *("favor", "favour", "prefer", "go with", "going with", "going", "not ", "not the ", "n't ", "rather than "),
    *(" is", " would be", ":", "\uff1a", " =", " most likely", " the", " option", " to this question", "**"),
    *(" ", "\n", "(", '"', "A", "b", "C", "k", "\u212a", ".", ",", "x"),
]
stated = st.lists(st.sampled_from(STATED) | st.text(max_size=2), max_size=25).map("".join)


@pytest.mark.parametrize(("keywords", "pattern"), STATEMENTS, ids=lambda value: str(value)[:20])
@given(text=stated)
def test_statements_are_those_of_the_pattern(keywords: tuple[str, ...], pattern: re.Pattern[str], text: str) -> None:
    found = find_keyword_pattern(pattern, keywords, text, fold_case(text))
    assert [match.span() for match in found] == [match.span() for match in pattern.finditer(text)]


LISTED = [*"ABK()*.:;,\n\t\u00a0x_", " or ", " and ", "and", "xor ", " ", "  ", "\n\n ", ". ", "A. ", "(B) ", "**C**. "]
listed = st.lists(st.sampled_from(LISTED), max_size=20).map("".join)


@given(listed, st.integers(0, 6))
@settings(max_examples=500)
@example("x. A. B. C.", 0)
@example("(((A. ((((B.", 0)
@example("land A. and B. or\n\nC. ,\n D.", 0)
@example("A.", 1)
@example("and A.", 1)
def test_further_letters_are_those_of_the_pattern(text: str, start: int) -> None:
    found = [match.span() for match in find_further_letters(text, start)]
    assert found == [match.span() for match in FURTHER_LETTER.finditer(text, start)]
