"""Find the longest runs of characters or words that two collections of texts share, in time linear in their length."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]


def longest_runs(texts: Sequence[Numbers], others: Sequence[Numbers], size: int) -> list[tuple[int, int] | None]:
    """Return for each text the longest run that it shares with one of `others`, as (index of that one, run length).

    A run is found if and only if it has at least `size` items; None means that there is none. If several others contain
    the same window of `size` items, only the first is compared, so another one may share a longer run.

    Args:
        texts, others: sequences of numbers, each of any length.
        size: least length of a run, in items.
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
    # Consecutive windows in both the text and the same other one belong to one run.
    follows = np.all(np.diff(found, prepend=-1) == [[0], [1], [0], [1]], axis=0)
    for t, i, o, j in found[:, ~follows].T.tolist():
        length, known_best = _common_run(texts[t], others[o], i, j), best[t]
        # A run shorter than size means a hash collision of two different windows.
        if length >= size and (known_best is None or length > known_best[1]):
            best[t] = o, length
    return best


def _common_run(a: Numbers, b: Numbers, i: int, j: int) -> int:
    """Return the length of the common run of a and b that contains a[i] and b[j]; 0 if these differ."""
    after = _agreement(a[i:], b[j:])
    return after + _agreement(a[:i][::-1], b[:j][::-1]) if after else 0


def _agreement(a: Numbers, b: Numbers) -> int:
    length = min(len(a), len(b))
    differing = np.flatnonzero(a[:length] != b[:length])
    return int(differing[0]) if len(differing) else length


def _windows(sequences: Sequence[Numbers], size: int) -> tuple[Numbers, NDArray[np.int64]]:
    """Return a hash of every run of `size` items, and an array (2, runs) with the sequence and start of each run.

    The hash is a polynomial modulo 2**64, computed from differences of prefix sums.
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
    """Return the Unicode code points of a text."""
    return np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)


def numbered(texts: Sequence[tuple[str, ...]]) -> list[Numbers]:
    """Return the texts with each word replaced by its number."""
    numbers: dict[str, int] = {}
    return [np.array([numbers.setdefault(word, len(numbers)) for word in text], np.uint64) for text in texts]
