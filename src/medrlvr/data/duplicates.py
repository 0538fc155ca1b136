"""Duplicates within and across splits, and the training questions that a held-out split already holds.

Exact duplicates have the same words in the stem and the same options in any order. Near-duplicates are found by MinHash
and locality-sensitive hashing (the datasketch package) and verified: the similarity reported is the exact Jaccard index
of the two stems' sets of five consecutive words.
"""

import re
import unicodedata
from collections import defaultdict
from itertools import combinations

import pandas as pd
import pyarrow as pa
from datasketch import MinHash, MinHashLSH

from medrlvr.data.questions import normalise_option

SHINGLE_WORDS = 5
NEAR_THRESHOLD = 0.5
# 64 bands of 2 values: a pair at the threshold is missed with probability (1 - 0.5 ** 2) ** 64 = 1e-8.
BANDS, BAND_SIZE = 64, 2

PAIR_SCHEMA = pa.schema(
    {
        "id_a": pa.string(),  # the one that stands first in the tables
        "id_b": pa.string(),
        "split_a": pa.string(),  # dataset/split
        "split_b": pa.string(),
        "kind": pa.string(),  # exact or near
        "similarity": pa.float64(),  # Jaccard index of the stems, 0 to 1
    }
)


def words(stem: str) -> tuple[str, ...]:
    """Return the words of a stem in lower case, without punctuation."""
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", stem).casefold()))


def shingles(stem: str) -> frozenset[tuple[str, ...]]:
    """Return all runs of five words of a stem; a shorter stem is one run."""
    parts = words(stem)
    return frozenset(parts[i : i + SHINGLE_WORDS] for i in range(max(1, len(parts) - SHINGLE_WORDS + 1)))


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """Return the share of the shingles of both that they have in common, 0 to 1."""
    return len(a & b) / len(a | b)


def find_duplicates(questions: pd.DataFrame, threshold: float = NEAR_THRESHOLD) -> pd.DataFrame:
    """Return every pair of duplicates among `questions` (PAIR_SCHEMA), in the table's order.

    Args:
        questions: all splits of an experiment, one after the other (QUESTION_SCHEMA); ids are unique.
        threshold: the least similarity of a near-duplicate.
    """
    ids = questions["question_id"].tolist()
    splits = (questions["dataset"] + "/" + questions["split"]).tolist()
    sets = [shingles(stem) for stem in questions["stem"]]
    exact = _exact_pairs(questions)
    near = {(i, j): jaccard(sets[i], sets[j]) for i, j in _candidates(sets) if (i, j) not in exact}
    found = [(i, j, "exact", jaccard(sets[i], sets[j])) for i, j in exact]
    found += [(i, j, "near", similarity) for (i, j), similarity in near.items() if similarity >= threshold]
    rows = [(ids[i], ids[j], splits[i], splits[j], kind, similarity) for i, j, kind, similarity in sorted(found)]
    return pd.DataFrame(rows, columns=PAIR_SCHEMA.names)


def remove_known(train: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return the training questions that are no exact duplicate of a question of another split.

    Args:
        train: questions of one split (QUESTION_SCHEMA).
        pairs: of that and the held-out splits, as `find_duplicates` returns them.
    """
    across = pairs[(pairs["kind"] == "exact") & (pairs["split_a"] != pairs["split_b"])]
    known = set(across["id_a"]) | set(across["id_b"])
    return train[~train["question_id"].isin(known)].reset_index(drop=True)


def _exact_pairs(questions: pd.DataFrame) -> set[tuple[int, int]]:
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, (stem, options) in enumerate(zip(questions["stem"], questions["options"], strict=True)):
        groups[words(stem), tuple(sorted(map(normalise_option, options)))].append(i)
    return {pair for group in groups.values() for pair in combinations(group, 2)}


def _candidates(sets: list[frozenset[tuple[str, ...]]]) -> list[tuple[int, int]]:
    """Return index pairs (i < j) that share a band of their MinHashes."""
    index = MinHashLSH(num_perm=BANDS * BAND_SIZE, params=(BANDS, BAND_SIZE))
    encoded = [[" ".join(shingle).encode() for shingle in shingle_set] for shingle_set in sets]
    pairs = []
    for j, signature in enumerate(MinHash.bulk(encoded, num_perm=BANDS * BAND_SIZE)):
        pairs += [(i, j) for i in index.query(signature)]
        index.insert(j, signature)
    return pairs
