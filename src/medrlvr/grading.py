"""The one grader: it decides what a response answers, for the reward and for every evaluation alike.

Two checks of the format stand side by side. The paper's (section 2.2) asks for `<think>...</think>` followed by
`<answer>...</answer>` somewhere in the response: text before `<think>` passes, as the paper's own fifth stage requires.
The strict one asks for nothing else than that, with each tag exactly once. A letter that cannot be read is None, never
a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from medrlvr.prompts import LETTERS

AnswerForm = Literal["tagged", "bare"]
"""Where the answer is looked for: in `<answer>` tags, or at the start of a bare direct answer."""

_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_ANSWER_FOLLOWS = re.compile(r"\s*<answer>")
# A letter alone, perhaps in brackets or bold, and then the end or a mark that closes it: "A thiazide" is not A.
_LEADING_LETTER = re.compile(r"\s*[(*]{0,3}([A-Ka-k])(?=\s*$|[.:)*\r\n])")
# Untagged text that states its choice; upper case only, because "a" is an article.
_STATED_LETTER = re.compile(r"\b(?:[Aa]nswer(?: is|:)|[Oo]ption) ?\(?([A-K])\b")


@dataclass(frozen=True, slots=True)
class Grade:
    """What the grader found in one response.

    Attributes:
        letter: the option letter answered, or None if none could be read.
        correct: whether `letter` is the gold letter; False for None.
        valid_format: the paper's check, unanchored.
        strict_format: think block, then answer block, nothing else, each tag exactly once.
        lenient_letter: the letter that a reader would take from untagged text too, or None.
        lenient_correct: whether `lenient_letter` is the gold letter.
        chars_before_think: characters before `<think>`, outer white space not counted; the whole length without it.
        think_chars: characters inside the first think block, 0 without one.
    """

    letter: str | None
    correct: bool
    valid_format: bool
    strict_format: bool
    lenient_letter: str | None
    lenient_correct: bool
    chars_before_think: int
    think_chars: int


def grade(response: str, options: Sequence[str], gold: int, form: AnswerForm = "tagged") -> Grade:
    """Grade one response to one question; never raises on any text, and takes time linear in its length.

    Args:
        response: the generated text alone. The prompt must be cut off first: it holds a valid pair of tags itself.
        options: the option texts; only their letters count as answers.
        gold: index of the right option.
        form: "bare" reads a direct answer, a letter at the start of the response, and expects no tags.
    """
    allowed = LETTERS[: len(options)]
    think, answer = _blocks(response)
    valid = answer is not None
    counts = [response.count(tag) for tag in _TAGS]
    strict = (
        valid
        and counts == [1, 1, 1, 1]
        and response.lstrip().startswith("<think>")
        and response.rstrip().endswith("</answer>")
    )
    if form == "bare":
        letter = _leading_letter(response, allowed)
    else:
        # Two answer blocks are two answers: which one was meant cannot be read.
        letter = _leading_letter(answer, allowed) if answer is not None and counts[2] == 1 else None
    lenient = letter or _leading_letter(response, allowed) or _stated_letter(response, allowed)
    opening = response.find("<think>")
    before = response if opening < 0 else response[:opening]
    return Grade(
        letter=letter,
        correct=letter == LETTERS[gold],
        valid_format=valid,
        strict_format=strict,
        lenient_letter=lenient,
        lenient_correct=lenient == LETTERS[gold],
        chars_before_think=len(before.strip()),
        think_chars=len(think or ""),
    )


def _blocks(response: str) -> tuple[str | None, str | None]:
    """Return the contents of the first think block and of an answer block that directly follows a think block."""
    start = response.find("<think>")
    if start < 0:
        return None, None
    start += len("<think>")
    end = response.find("</think>", start)
    if end < 0:
        return None, None
    think = response[start:end]
    while end >= 0:
        after = end + len("</think>")
        opened = _ANSWER_FOLLOWS.match(response, after)
        if opened:
            closed = response.find("</answer>", opened.end())
            return think, response[opened.end() : closed] if closed >= 0 else None
        end = response.find("</think>", after)
    return think, None


def _leading_letter(text: str, allowed: str) -> str | None:
    match = _LEADING_LETTER.match(text)
    letter = match.group(1).upper() if match else None
    return letter if letter and letter in allowed else None


def _stated_letter(text: str, allowed: str) -> str | None:
    stated = [letter for letter in _STATED_LETTER.findall(text) if letter in allowed]
    return stated[-1] if stated else None
