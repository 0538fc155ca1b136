"""The one grader: it decides what a response answers, both for the reward and for every evaluation.

docs/grading.md explains each decision; tests/golden/grades.jsonl contains the cases. There are two format checks. The
paper's check (section 2.2) requires `<think>...</think>` followed by `<answer>...</answer>` somewhere in the response;
it allows text before `<think>`, because the paper's fifth stage contains such text. The strict check allows only these
two blocks, with each tag exactly once. If no letter can be read, the letter is None; the grader never guesses.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from medrlvr.grading.letters import LETTERS
from medrlvr.grading.patterns import (
    ANSWER_FOLLOWS,
    BOXED,
    CALLED_RIGHT,
    ENDS_LABELLED_LETTER,
    ENDS_LETTER,
    ENDS_SMALL_LETTER,
    LEADING_LETTER,
    LEADING_MARKS,
    LISTED_LETTER,
    NEXT_LETTER,
    NEXT_TURN,
    OPENING_LABEL,
    REFUSED,
    SECOND_LETTER,
    SEPARATOR,
    STATEMENTS,
    TAGS,
)
from medrlvr.grading.search import find_further_letters, find_keyword_pattern, find_named_letters, find_words, fold_case

AnswerFormat = Literal["tagged", "bare"]
"""Where the grader looks for the answer: in `<answer>` tags, or at the start of a direct answer without tags."""

Rule = Literal[
    "letter",
    "letter_and_text",
    "no_answer_block",
    "several_answer_blocks",
    "no_letter",
    "no_such_option",
    "several_letters",
    "option_text",
]
"""How the letter was found (the first two values), or why there is none."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What the grader found in one response. Positions are in characters from the start of the response.

    Attributes:
        letter: the option letter answered, or None if none could be read.
        rule: how the letter was found, or why it was not.
        correct: whether `letter` is the gold letter; False for None.
        valid_format: whether the response passes the paper's check: the two blocks may be anywhere in it.
        strict_format: whether the response is a think block and an answer block only, with each tag exactly once.
        lenient_letter: the letter that a reader would also find in untagged text, or None.
        lenient_correct: whether `lenient_letter` is the gold letter.
        truncated: whether the response ended at the token limit, as given by the caller.
        chars_before_think: characters before `<think>` without outer white space; the whole length if there is no tag.
        think_chars: characters inside the think block, consecutive white space counted as one; 0 without a block.
        chars_after_answer: characters after `</answer>` without outer white space; 0 without a valid format.
        think_tags, think_ends, answer_tags, answer_ends: number of occurrences of each tag.
        think_start, think_end: content of the think block, from the first `<think>` to the `</think>` before the answer
            block, or to the first `</think>` if the format is not valid; None without a think block.
        answer_start, answer_end: content of the answer block; None without a valid format.
        letter_at: position of `letter`.
        option_named_at: position at which the think block first names any option, by its letter or its text, counted
            from the start of the block, consecutive white space counted as one character; None if it names no option.
        gold_named_at: the same for the gold option.
        answer_named_at: the same for the option answered: from there on, the answer is known.
    """

    letter: str | None
    rule: Rule
    correct: bool
    valid_format: bool
    strict_format: bool
    lenient_letter: str | None
    lenient_correct: bool
    truncated: bool
    chars_before_think: int
    think_chars: int
    chars_after_answer: int
    think_tags: int
    think_ends: int
    answer_tags: int
    answer_ends: int
    think_start: int | None
    think_end: int | None
    answer_start: int | None
    answer_end: int | None
    letter_at: int | None
    option_named_at: int | None
    gold_named_at: int | None
    answer_named_at: int | None


def grade(
    response: str, options: Sequence[str], gold: int, answer_format: AnswerFormat = "tagged", *, truncated: bool = False
) -> Grade:
    """Grade one response to one question in time linear in its length; no text raises an error.

    Args:
        response: the generated text without the prompt. The prompt must be removed because it also contains the tags.
        options: the option texts; only their letters count as answers.
        gold: index of the correct option, from 0.
        answer_format: "tagged" by default; "bare" reads a letter at the start of the response and expects no tags.
        truncated: whether the response ended at the token limit.
    """
    think, answer = _blocks(response)
    counts = [response.count(tag) for tag in TAGS]
    outside = response[answer[1] + len("</answer>") :].strip() if answer else ""
    opening = response.find("<think>")
    before = response if opening == -1 else response[:opening]
    if answer_format == "bare":
        letter, rule, letter_at = _leading_letter(response, 0, options)
    elif answer is None:
        letter, rule, letter_at = None, "no_answer_block", None
    elif counts[2] > 1:
        # Two answer blocks are two answers, and nothing shows which one was meant.
        letter, rule, letter_at = None, "several_answer_blocks", None
    else:
        letter, rule, letter_at = _leading_letter(response[slice(*answer)], answer[0], options)
    # If the answer block was read and rejected, no other text replaces it.
    lenient = letter if answer_format == "tagged" and answer else letter or _untagged_letter(response, options)
    thought = _squeezed(response[slice(*think)]) if think else ""
    named = _named(thought, options)
    return Grade(
        letter=letter,
        rule=rule,
        correct=letter == LETTERS[gold],
        valid_format=answer is not None,
        strict_format=answer is not None and counts == [1, 1, 1, 1] and not before.strip() and not outside,
        lenient_letter=lenient,
        lenient_correct=lenient == LETTERS[gold],
        truncated=truncated,
        chars_before_think=len(before.strip()),
        think_chars=len(thought),
        chars_after_answer=len(outside),
        think_tags=counts[0],
        think_ends=counts[1],
        answer_tags=counts[2],
        answer_ends=counts[3],
        think_start=think[0] if think else None,
        think_end=think[1] if think else None,
        answer_start=answer[0] if answer else None,
        answer_end=answer[1] if answer else None,
        letter_at=letter_at,
        option_named_at=min(named.values(), default=None),
        gold_named_at=named.get(LETTERS[gold]),
        answer_named_at=named.get(letter or ""),
    )


def think_text(response: str, grade: Grade) -> str:
    """Return the think block with consecutive white space as one space, as `option_named_at` counts, or ""."""
    return _squeezed(response[grade.think_start : grade.think_end]) if grade.think_start is not None else ""


Span = tuple[int, int]


def _blocks(response: str) -> tuple[Span | None, Span | None]:
    """Return the positions of the contents of the think block and of an answer block that directly follows it."""
    start = response.find("<think>")
    if start == -1:
        return None, None
    start += len("<think>")
    first = end = response.find("</think>", start)
    if end == -1:
        return None, None
    while end != -1:
        after = end + len("</think>")
        opened = ANSWER_FOLLOWS.match(response, after)
        if opened:
            closed = response.find("</answer>", opened.end())
            return ((start, end), (opened.end(), closed)) if closed != -1 else ((start, first), None)
        end = response.find("</think>", after)
    return (start, first), None


def _leading_letter(text: str, start: int, options: Sequence[str]) -> tuple[str | None, Rule, int | None]:
    """Return the letter at the start of a text, the rule, and the position; the text begins at `start`."""
    match = LEADING_LETTER.match(text)
    if match is None:
        return None, "no_letter", None
    letter, letter_at = match.group(1).upper(), start + match.start(1)
    if letter not in LETTERS[: len(options)]:
        return None, "no_such_option", None
    rest = LEADING_MARKS.sub("", text[match.end(1) :])
    if not rest:
        return letter, "letter", letter_at
    texts = [_plain(option) for option in options]
    if _plain(rest) == texts[LETTERS.index(letter)]:
        return letter, "letter_and_text", letter_at
    # "E. coli" looks like a letter followed by a text.
    if _plain(text) in texts and texts[LETTERS.index(letter)] != _plain(text):
        return None, "option_text", None
    following = NEXT_LETTER.match(rest)
    if following and following.group(1).upper() != letter:
        return None, "several_letters", None
    if _lists_others(rest, letter, texts):
        return None, "several_letters", None
    return letter, "letter_and_text", letter_at


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(" .*()")


def _lists_others(rest: str, letter: str, texts: Sequence[str]) -> bool:
    """Return whether the text after an answer's letter lists other options, by mark or by text."""
    own = texts[LETTERS.index(letter)]
    after_own = len(own) if own and _plain(rest[: len(own)]) == own else 0
    for match in find_further_letters(rest, after_own):
        separator, other, mark = match.groups()
        if other == letter or other not in LETTERS[: len(texts)]:
            continue
        text = texts[LETTERS.index(other)]
        # "E. coli" looks like a letter and a mark, so a full stop or a mere space needs the option's text as well.
        named = text and _plain(rest[match.end() : match.end() + len(text)]) == text
        if named or (separator is not None and "." not in mark):
            return True
    return False


def _untagged_letter(response: str, options: Sequence[str]) -> str | None:
    """Return the letter that a reader would find in text without the format.

    If there is a single answer block, only this block counts. Otherwise the letter is the last stated one, or the one
    at the start of the text. A mention ("option D was excluded") is not a statement. Text that starts with a letter and
    continues with other letters in the same way repeats the options and is no answer.
    """
    turn = NEXT_TURN.search(response)
    text = response[: turn.start()] if turn else response
    parts = text.split("<answer>")
    if len(parts) == 2:
        return _leading_letter(parts[1].partition("</answer>")[0], 0, options)[0]
    stated = sorted(_statements(text, options))
    if stated:
        return stated[-1][1]
    label = OPENING_LABEL.match(text)
    letter, _, _ = _leading_letter(text[label.end() :] if label else text, 0, options)
    return letter if not set(LISTED_LETTER.findall(text)) - {letter} else None


def _statements(text: str, options: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield place and letter of every statement of a choice."""
    allowed = LETTERS[: len(options)]
    folded = fold_case(text)
    for keywords, pattern in STATEMENTS:
        for match in find_keyword_pattern(pattern, keywords, text, folded):
            letter = match[2].upper()
            if letter in allowed and _ends_as_choice(text, match, options[LETTERS.index(letter)]):
                yield match.start(2), letter
    for pattern in (BOXED, CALLED_RIGHT):
        yield from (
            (match.start(1), match[1].upper()) for match in pattern.finditer(text) if match[1].upper() in allowed
        )


def _ends_as_choice(text: str, match: re.Match[str], option: str) -> bool:
    """Return whether a statement's letter ends as a choice does: by a mark, the option's own text, or after a label."""
    letter, end = match[2], match.end(2)
    if SECOND_LETTER.match(text, end) or REFUSED.match(text, end):
        return False
    if letter.islower():
        return ENDS_SMALL_LETTER.match(text, end) is not None
    if ENDS_LETTER.match(text, end) or (match[1] and letter not in "AI" and ENDS_LABELLED_LETTER.match(text, end)):
        return True
    opening = SEPARATOR.match(text, end)
    start = opening.end() if opening else end
    return bool(opening) and text[start : start + len(option)].casefold() == option.casefold() != ""


def _squeezed(text: str) -> str:
    """Return a text without empty lines and with single spaces, because white space is not reasoning."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in text.splitlines())))


def _named(think: str, options: Sequence[str]) -> dict[str, int]:
    """Return option letter -> the first position at which a think block names it, by letter or text, if it does.

    Args:
        think: the squeezed think block.
        options: the option texts.
    """
    allowed = LETTERS[: len(options)]
    named = {letter: at for letter, at in find_named_letters(think).items() if letter in allowed}
    folded = fold_case(think).replace("\n", " ")
    for index, option in enumerate(options):
        letter, words = LETTERS[index], fold_case(option).split()
        # A single character is not a name: it may be an article or any digit.
        if len("".join(words)) < 2:
            continue
        found = find_words(" ".join(words), think, folded)
        if found is not None:
            named[letter] = min(found, named.get(letter, found))
    return named
