"""Make controls: the questions of a benchmark with changed options, to test what an accuracy depends on.

A question keeps its id, so its two answers can be compared. The change depends only on the id and the seed.
"""

import random
import re
from collections.abc import Sequence

import pandas as pd

from medrlvr.config.data import Control
from medrlvr.data.row_parsing import NONE_OF_THE_ABOVE, normalise_text
from medrlvr.grading.letters import LETTERS

FEW = 5
"""Number of options in the original MedQA, and so the number of gold letters in training."""


NAMES_LETTERS = re.compile(
    r"\b(?i:both|neither|either|only|options?|answers?|choices?) (?:options? )?[A-K]\b"
    r"|(?<![\w'-])[A-K](?:, [A-K])*,? (?:and|or|&|\+) [A-K]\b(?!['-])|^[A-K](?:[&+][A-K])+$"
    r"|\b(?i:both|neither|either) [a-k] (?:and|or|nor|&) [a-k]\b"
    r"|\b(?i:all|two|both|any|either|neither|more than one)(?i: of)?(?i: the)? (?i:above|these)\b"
)
"""An option that refers to other options by letter or place, such as "A and B" or "all of the above"."""


def vary(questions: pd.DataFrame, control: Control, seed: int) -> pd.DataFrame:
    """Return the questions, in their order, with changed options (QUESTION_SCHEMA).

    Args:
        questions: the questions of a benchmark.
        control: `shuffled`: options in a random order, but "None of the above" stays last. `five_options`: the correct
            option and at most four drawn from the others, in their order. `none_of_the_above`: this option is removed
            if it is last and wrong, and added if it is not last and a letter is left. `key_replaced`: this option
            replaces the correct one; if it is already last and wrong, the correct one is only removed.
            `shift_<n>`: each option moves up by n places, cyclically, but "None of the above" stays last. A question
            with an option that refers to others ("A and B") is changed only by `none_of_the_above`.
        seed: seed for the draws.
    """
    orders = [
        _order(list(row["options"]), int(row["gold"]), control, random.Random(f"{seed}:{control}:{row['question_id']}"))
        for row in questions.to_dict("records")
    ]
    options = [
        [NONE_OF_THE_ABOVE if index == len(texts) else texts[index] for index in order]
        for texts, order in zip(questions["options"], orders, strict=True)
    ]
    gold = [
        # If the correct option was removed, "None of the above" is correct: a new one, or the last.
        order.index(index if index in order else max(order))
        for index, order in zip(questions["gold"], orders, strict=True)
    ]
    return questions.assign(options=pd.Series(options, index=questions.index, dtype=object), gold=gold)


def shift_options(options: Sequence[str], places: int) -> tuple[str, ...]:
    """Return the options as the control `shift_<places>` shows them."""
    return tuple(options[index] for index in _shifted(list(options), places))


def _shifted(options: list[str], places: int) -> list[int]:
    """Return the indices of the options after a shift."""
    everything = list(range(len(options)))
    if any(map(NAMES_LETTERS.search, options)):
        return everything
    last = everything[-1:] if _ends_with_none(options) else []
    moved = everything[: len(options) - len(last)]
    places %= len(moved)
    return moved[places:] + moved[:places] + last


def _ends_with_none(options: Sequence[str]) -> bool:
    return normalise_text(options[-1]) == normalise_text(NONE_OF_THE_ABOVE)


def _order(options: list[str], gold: int, control: Control, rng: random.Random) -> list[int]:
    """Return the indices of the options to show, in order; len(options) is a new "None of the above"."""
    everything = list(range(len(options)))
    none_is_last = _ends_with_none(options)
    if control != "none_of_the_above" and any(map(NAMES_LETTERS.search, options)):
        return everything
    match control:
        case "shuffled":
            last = everything[-1:] if none_is_last else []
            moved = everything[: len(options) - len(last)]
            return rng.sample(moved, len(moved)) + last
        case "five_options":
            others = [index for index in everything if index != gold]
            return sorted([gold, *rng.sample(others, min(FEW - 1, len(others)))])
        case "none_of_the_above":
            if none_is_last:
                return everything if gold == everything[-1] else everything[:-1]
            return [*everything, len(options)] if len(options) < len(LETTERS) else everything
        case "key_replaced":
            if none_is_last:
                return everything if gold == everything[-1] else [index for index in everything if index != gold]
            return [len(options) if index == gold else index for index in everything]
        case _:
            return _shifted(options, int(control.removeprefix("shift_")))
