"""Search a text for patterns only at the few positions at which they can match.

A regular expression that starts with an assertion is tried at every character. Each function here returns what such a
search returns, in a fraction of the time; tests/test_grading_search.py compares the two.
"""

import re
from collections.abc import Iterator, Sequence

from medrlvr.grading.patterns import (
    FURTHER_LETTER,
    LABEL,
    LABEL_REACH,
    LETTER_AND_MARK,
    NAMED_LETTER,
    NAMED_LETTER_ALONE,
)

# The letters of a group differ in code and shape, and are one letter to re.IGNORECASE: i and the dotless i, s and the
# long s, Greek and Cyrillic variants. Each group begins with the letter that replaces the others.
_VARIANTS = (
    *("i\u0131", "s\u017f", "\u00b5\u03bc", "\u0345\u03b9\u1fbe", "\u0390\u1fd3", "\u03b0\u1fe3", "\u03b2\u03d0"),
    *("\u03b5\u03f5", "\u03b8\u03d1", "\u03ba\u03f0", "\u03c0\u03d6", "\u03c1\u03f1", "\u03c2\u03c3", "\u03c6\u03d5"),
    *("\u0432\u1c80", "\u0434\u1c81", "\u043e\u1c82", "\u0441\u1c83", "\u0442\u1c84\u1c85", "\u044a\u1c86"),
    *("\u0463\u1c87", "\u1c88\ua64b", "\u1e61\u1e9b", "\ufb05\ufb06"),
)
_SAME = {variant: group[0] for group in _VARIANTS for variant in group[1:]}
_VARIANT = re.compile(f"[{''.join(_SAME)}]")

_MARKS = {"(": 1, "*": 2}
"""The last mark before a letter -> the number of these marks with which a match of `NAMED_LETTER` can start."""

_DENSE = 32
"""Number of characters that the pattern searches in the time of one letter's candidates."""


def fold_case(text: str) -> str:
    """Return a text of the same length; two of its characters are equal if re.IGNORECASE does not distinguish them."""
    if text.isascii():
        return text.lower()
    # The small form of the capital I with a dot is two characters long.
    return _VARIANT.sub(lambda match: _SAME[match[0]], text.replace("\u0130", "i").lower())


def find_words(words: str, text: str, folded: str) -> int | None:
    """Return the first position at which a text contains words, with no letter, digit or underscore next to them.

    Args:
        words: folded words with single spaces.
        text: the text.
        folded: the text, folded and with a space for each character of white space.
    """
    at = folded.find(words)
    while at != -1:
        end = at + len(words)
        if not _is_word(text[at - 1 : at]) and not _is_word(text[end : end + 1]):
            return at
        at = folded.find(words, at + 1)
    return None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def find_keyword_pattern(
    pattern: re.Pattern[str], keywords: Sequence[str], text: str, folded: str
) -> Iterator[re.Match[str]]:
    """Yield the matches of `pattern.finditer(text)`; each of them starts with one of the folded keywords."""
    end = 0
    for at in sorted(_positions(keywords, folded)):
        match = pattern.match(text, at) if at >= end else None
        if match:
            end = match.end()
            yield match


def _positions(keywords: Sequence[str], folded: str) -> Iterator[int]:
    for keyword in keywords:
        at = folded.find(keyword)
        while at != -1:
            yield at
            at = folded.find(keyword, at + 1)


def find_named_letters(text: str) -> dict[str, int]:
    """Return letter -> start of its first match of `NAMED_LETTER`, in a text whose lines start with no white space."""
    letters = [letter.start() for letter in NAMED_LETTER_ALONE.finditer(text)]
    named: dict[str, int] = {}
    if len(letters) * _DENSE > len(text):
        for found in NAMED_LETTER.finditer(text):
            named.setdefault(next(filter(None, found.groups())), found.start())
        return named
    end = 0
    for at in letters:
        # A further match of a letter changes nothing, unless its last asterisks are the first ones of the next letter.
        if text[at] in named and text[at + 1 : at + 2] != "*":
            continue
        for start in _starts(text, end, at):
            match = NAMED_LETTER.match(text, start)
            # A match that ends before this letter is one of a letter left out above.
            if match and match.end() > at:
                end = match.end()
                named.setdefault(text[at], start)
                break
    return named


def _starts(text: str, least: int, letter_at: int) -> list[int]:
    """Return the positions from `least` at which a match of `NAMED_LETTER` with this letter can start."""
    place = (text, max(least, letter_at - LABEL_REACH), letter_at)
    labels = [label.start() for label in LABEL.finditer(*place)] if LABEL.search(*place) else []
    marks = _MARKS.get(text[letter_at - 1 : letter_at])
    return [*labels, max(least, letter_at - marks), letter_at] if marks else [*labels, letter_at]


def find_further_letters(text: str, start: int) -> Iterator[re.Match[str]]:
    """Yield the matches of `FURTHER_LETTER.finditer(text, start)`."""
    end = start
    for letter in LETTER_AND_MARK.finditer(text, start):
        for at in _separator_starts(text, end, letter.start()):
            match = FURTHER_LETTER.match(text, at)
            if match:
                end = match.end()
                yield match
                break


def _separator_starts(text: str, least: int, letter_at: int) -> Iterator[int]:
    """Yield, in order, the positions from `least` at which a match of `FURTHER_LETTER` with this letter can start."""
    marks = letter_at
    while marks > least and text[marks - 1] in "(*":
        marks -= 1
    space = marks
    while space > least and text[space - 1].isspace():
        space -= 1
    # Before the white space: a mark or a word. In it: the start of a line, or one character.
    if space > least and text[space - 1] in ".;,":
        yield space - 1
    elif text.endswith(("or", "and"), least, space):
        yield space - (3 if text[space - 1] == "d" else 2)
    yield text.rfind("\n", space, marks) + 1 or space
    if marks > space:
        yield marks - 1
