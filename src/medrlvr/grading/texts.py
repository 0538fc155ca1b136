"""Compare a short text with accepted answers; docs/grading_kinds.md gives the reason for each rule."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

from medrlvr.grading.search import fold_case

TextRule = Literal["accepted", "other_text", "no_text", "several_texts", "hedged", "negated"]
"""How the text was read (the first two values), or why it was not."""

# White space, hyphens, dashes and minus signs.
_SPACE = re.compile(r"[\s\u2010-\u2015\u2212\ufe58\ufe63\uff0d-]")
_SPACES = re.compile(f"{_SPACE.pattern}+")
_QUOTES = str.maketrans("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f", "''''\"\"\"\"")
_MARKS = " *\"'.,;:!"
_ARTICLE = re.compile(r"(?:an?|the) [\s*\"']*(?=\S)")
_SEVERAL = re.compile(r"[\r\n\u2028\u2029;/|,\u3001\uff0c\uff1b]|[.!?]\s+(?=[A-Z])|\b(?i:and|or|versus|vs)\b")
_HEDGE = re.compile(r"(?:probably|possibly|likely|maybe|perhaps|(?:might|could) be)(?= )")
_NEGATION = re.compile(r"(?:not|no|never)(?= )")
_VOWELS = "aeiou"


def normalised(text: str) -> str:
    """Return a text without the differences in spelling that do not count."""
    plain = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).translate(_QUOTES)
    plain = _SPACES.sub(" ", plain).strip(_MARKS)
    article = _ARTICLE.match(plain)
    return plain[article.end() :].strip(_MARKS) if article else plain


def searchable(text: str) -> str:
    """Return a text of the same length in which normalised words can be found."""
    return _SPACE.sub(" ", fold_case(text).translate(_QUOTES))


def plural_of(text: str) -> str:
    """Return a normalised text with the regular plural of its last word."""
    if text.endswith(("s", "x", "z", "ch", "sh")):
        return f"{text}es"
    if text.endswith("y") and text[-2:-1].isalpha() and text[-2] not in _VOWELS:
        return f"{text[:-1]}ies"
    return f"{text}s"


def read_text(text: str, accepted: Sequence[str]) -> TextRule:
    """Return whether a text is one of the accepted ones, another one, or unread.

    Args:
        text: an answer of at most a few hundred characters.
        accepted: normalised texts.
    """
    plain = normalised(text)
    if not plain:
        return "no_text"
    if text.rstrip(_MARKS).endswith("?"):
        return "hedged"
    # Compared first: an accepted text may contain the words and marks that separate texts.
    if plain in accepted:
        return "accepted"
    inner = text.strip().strip(_MARKS)
    if _SEVERAL.search(inner):
        return "several_texts"
    if _HEDGE.match(plain):
        return "hedged"
    return "negated" if _NEGATION.match(plain) else "other_text"
