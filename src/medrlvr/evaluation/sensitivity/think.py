"""Sentences of a think block, and the block with only the first of them or with all in another order."""

import random
import re

_BOUNDARY = re.compile(r"(?<=[.!?;])\s+|\s*\n\s*")


def sentence_ends(block: str) -> list[int]:
    """Return the position after each sentence of a think block, in characters.

    A sentence ends at a full stop, exclamation mark, question mark or semicolon before white space, at a line break, or
    at the end of the block. White space alone is no sentence.
    """
    end = len(block.rstrip())
    start = len(block) - len(block.lstrip())
    if start >= end:
        return []
    return [*(found.start() for found in _BOUNDARY.finditer(block, start, end)), end]


def closed(block: str, count: int) -> str:
    """Return the block with its first `count` sentences; the white space around them stays."""
    ends = sentence_ends(block)
    if not count:
        return block[: len(block) - len(block.lstrip())] or " "
    return block[: ends[count - 1]] + block[ends[-1] :]


def shuffled(block: str, rng: random.Random) -> str | None:
    """Return the block with its sentences in another order, one space between them; None if no other text results."""
    ends = sentence_ends(block)
    sentences = [block[start:end].strip() for start, end in zip([0, *ends], ends, strict=False)]
    if len({*sentences}) < 2:
        return None
    order = list(sentences)
    while order == sentences:
        rng.shuffle(order)
    return closed(block, 0) + " ".join(order) + block[ends[-1] :]
