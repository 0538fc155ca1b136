"""Longest runs of characters or words that two collections of texts share, in time linear in their length."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]


def longest_runs(texts: Sequence[Numbers], others: Sequence[Numbers], size: int) -> list[tuple[int, int] | None]:
    """Return for each text the longest run that it shares with another: that one's index and the run's length.

    A run is found if and only if it has at least `size` items; where several others hold the same window of `size`
    items, the first is followed, so the length is the longest with one of these. None: no run.

    Args:
        texts, others: sequences of numbers, each of any length.
    """
    known, (owner, place) = _windows(others, size)
    known, first = np.unique(known, return_index=True)
    hashes, (text, start) = _windows(texts, size)
    best: list[tuple[int, int] | None] = [None] * len(texts)
    if not len(known):
        return best
    index = pd.Index(known).get_indexer(pd.Index(hashes))
    hit = index >= 0
    found = np.stack([text[hit], start[hit], owner[first][index[hit]], place[first][index[hit]]])
    # Windows that follow each other in the text and in the same other are one run.
    follows = np.all(np.diff(found, prepend=-1) == [[0], [1], [0], [1]], axis=0)
    for t, i, o, j in found[:, ~follows].T.tolist():
        length, known_best = _common_run(texts[t], others[o], i, j), best[t]
        # Shorter than size: two windows of one hash and different content.
        if length >= size and (known_best is None or length > known_best[1]):
            best[t] = o, length
    return best


def _common_run(a: Numbers, b: Numbers, i: int, j: int) -> int:
    """Return how long a and b agree from a[i] and b[j] on and, where they agree there, before them."""
    after = _agreement(a[i:], b[j:])
    return after + _agreement(a[:i][::-1], b[:j][::-1]) if after else 0


def _agreement(a: Numbers, b: Numbers) -> int:
    length = min(len(a), len(b))
    differing = np.flatnonzero(a[:length] != b[:length])
    return int(differing[0]) if len(differing) else length


def _windows(sequences: Sequence[Numbers], size: int) -> tuple[Numbers, NDArray[np.int64]]:
    """Return a hash of every run of `size` items, and below each other whose run it is and where it begins.

    The hash is a polynomial modulo 2**64, by differences of its prefix sums.
    """
    counts = [max(0, len(sequence) - size + 1) for sequence in sequences]
    longest = max(map(len, sequences), default=0)
    powers = np.cumprod(np.full(longest, _FACTOR, np.uint64))
    inverses = np.cumprod(np.full(longest, _INVERSE, np.uint64))
    hashes = [np.empty(0, np.uint64)]
    for sequence, count in zip(sequences, counts, strict=True):
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum((sequence + np.uint64(1)) * powers[: len(sequence)])])
        hashes.append((sums[size : size + count] - sums[:count]) * inverses[:count])
    owners = np.repeat(np.arange(len(sequences)), counts)
    ends = np.cumsum(counts, dtype=np.int64)
    return np.concatenate(hashes), np.stack([owners, np.arange(len(owners)) - np.repeat(ends - counts, counts)])


_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_INVERSE = np.uint64(pow(int(_FACTOR), -1, 2**64))


def code_points(text: str) -> Numbers:
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)


def numbered(texts: Sequence[tuple[str, ...]]) -> list[Numbers]:
    """Return the texts with a number for each word."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(word, len(numbers)) for word in text], np.uint64) for text in texts]
