"""Find phrases that check or retract earlier reasoning: the "aha moment" that the paper did not observe (4.2.2).

A list of phrases finds responses that claim to check their reasoning, not those that really check it. Every rate is
therefore reported with the positions found.
"""

import re

_PHRASES = re.compile(
    r"""
    (?:^|[.!?;\n]\s*|<think>\s*|\b(?:but|oh|hmm),?\s+)wait\b
      (?=\s*[,.!\u2014\u2026-]|\s+(?:that|this|let|no)\b)
    | (?:^|[.!?;\n]\s*|<think>\s*|\b(?:but|oh|hmm),?\s+)hold\s+on\b(?!\s+(?:to|the|that|this|these|his|her|all|any)\b)
    | \bon\s+second\s+thoughts?\b
    | \bactually,?\s+(?:no|wait|that(?:\s+is|['\u2019]s)\s+(?:wrong|not\s+right)|let\s+me)\b
    | \b(?:let\s+me|let\s+us|let['\u2019]s|i(?:\s+should|\s+need\s+to|\s+must|\s+will|['\u2019]ll|\s+want\s+to))
      \s+(?:just\s+)?
      (?:think\s+again|go\s+back|check\s+(?:again|my|whether\s+(?:[A-K]\b|i\b|my|this|that))
        |(?:re-?\s?(?:check|consider|examine|evaluate|think|read|visit|assess)|double[-\s]check|verify)
          (?:\s*[.!:]|\s+(?:this|that|it|again|my|each|all|both|the\s+(?:question|options?|answers?|choices?|reasoning|stem|case|above))\b))
    | \b(?:re-?(?:checking|considering|examining|evaluating|reading|thinking)|double[-\s]checking)\s+
      (?:this|that|it|my|the\s+(?:question|options?|answers?|choices?|reasoning|stem))\b
    | \bi\s+(?:have\s+)?made\s+an?\s+(?:mistake|error)\b
    | \bmy\s+(?:earlier|previous|first|initial)?\s*(?:reasoning|answer|thought|conclusion|choice|step)
      \s+(?:was|is)\s+(?:wrong|incorrect|not\s+right|inconsistent)\b
    | \bi\s+was\s+(?:wrong|mistaken)\b
    """,
    re.VERBOSE | re.IGNORECASE,
)


# Every phrase contains one of these texts, with single spaces. Searching for them needs a twentieth of the time, and
# most responses contain none.
_STARTS = (
    "let me",
    "let us",
    "let's",
    "let\u2019s",
    "i should",
    "i need to",
    "i must",
    "i will",
    "i'll",
    "i\u2019ll",
    "i want to",
)
_AGAIN = ("checking", "considering", "examining", "evaluating", "reading", "thinking")
_MINE = ("earlier", "previous", "first", "initial", "reasoning", "answer", "thought", "conclusion", "choice", "step")
_KEYS = (
    *("wait", "hold on", "on second thought", "actually", "double checking", "double-checking"),
    *("i made a", "i have made a", "i was wrong", "i was mistaken"),
    *_STARTS,
    *(f"{again}{verb}" for again in ("re", "re-") for verb in _AGAIN),
    *(f"my {what}" for what in _MINE),
)


def find_self_verification(response: str) -> list[tuple[int, int]]:
    """Return where a response claims to check or retract its reasoning, as (start, end) positions in characters."""
    plain = " ".join(response.casefold().split())
    if not any(key in plain for key in _KEYS):
        return []
    return [match.span() for match in _PHRASES.finditer(response)]
