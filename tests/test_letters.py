"""Option letters and indices, and the letter that follows a prompt."""

import numpy
import pytest

from medrlvr.grading.letters import LETTERS, gold_values, letter_continuation, option_index


def test_a_letter_or_an_index_names_an_option() -> None:
    for index, letter in enumerate(LETTERS):
        assert option_index(letter, 11) == option_index(index, 11) == option_index(numpy.int64(index), 11) == index
    assert type(option_index(numpy.int64(1), 2)) is int


@pytest.mark.parametrize("gold", ["C", "b", "", "AB", "1", -1, 2, True, False, 1.0, None, ["A"], numpy.float64(1)])
def test_what_names_no_option_is_rejected(gold: object) -> None:
    with pytest.raises(ValueError) as error:
        option_index(gold, 2)
    assert str(error.value) == f"gold must be a letter from A to B or an index from 0 to 1, not {gold!r}"


def test_a_message_names_the_last_option() -> None:
    assert gold_values(11) == "a letter from A to K or an index from 0 to 10"


@pytest.mark.parametrize(
    ("prompt", "letter"), [("Answer:", " B"), ("Answer: ", "B"), ("Answer:\n", "B"), ("Answer:\u00a0", "B"), ("", " B")]
)
def test_a_letter_follows_a_prompt_after_one_space(prompt: str, letter: str) -> None:
    assert letter_continuation(prompt, 1) == letter
