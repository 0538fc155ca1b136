"""Change what a think block of the miniature cites, to measure whether the answer depends on it."""

import random
import re
from functools import cache

from medrlvr.data.miniature.world import load_world


def replace_finding(stem: str, block: str, rng: random.Random) -> str | None:
    """Return a think block in which one finding of the question, where cited, is another finding of the world.

    Args:
        stem: the question, which lists its findings.
        block: the think block.
        rng: draws the finding and its replacement, which neither the question nor the block has.

    Returns:
        the block with all mentions replaced; None if it cites no finding of the question.
    """
    given, cited = _findings(stem), _findings(block)
    both = sorted(given & cited)
    if not both:
        return None
    old = rng.choice(both)
    new = rng.choice(sorted(_all_findings() - given - cited))
    return re.sub(_word(old), new, block, flags=re.IGNORECASE)


@cache
def _all_findings() -> frozenset[str]:
    return frozenset(finding for condition in load_world() for finding in condition.findings)


@cache
def _any_finding() -> re.Pattern[str]:
    return re.compile("|".join(map(_word, sorted(_all_findings()))), re.IGNORECASE)


def _findings(text: str) -> set[str]:
    return {found.lower() for found in _any_finding().findall(text)}


def _word(word: str) -> str:
    return rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
