"""Find duplicates within and across splits.

Exact duplicates have the same words in the stem and the same options in any order. Near-duplicates are found with
MinHash and locality-sensitive hashing (the datasketch package) and then verified: the reported similarity is the exact
Jaccard index of the two stems' sets of five consecutive words. Options distinguish stems such as "Which of these is
true?": if one of the two stems is short, near-duplicates must have an option in common.

Questions without options are exact duplicates if the words of the stems are equal, numbers included. They are
near-duplicates only if the correct answers are also equal: a calculation with other numbers is another question.
"""

import gc
import re
import unicodedata
from collections import defaultdict
from itertools import combinations

import numpy as np
import pandas as pd
import pyarrow as pa

from medrlvr.data.keys import correct_answer, key_of
from medrlvr.data.row_parsing import normalise_text
from medrlvr.grading.kinds import Key, LetterKey, NumberKey, TextKey

SHINGLE_WORDS = 5
LEAST_SIMILARITY = 0.5
"""Least Jaccard index that the search is designed for; the bands below follow from it."""
# A pair at LEAST_SIMILARITY is missed with probability (1 - 0.5 ** 3) ** 96 = 3e-6. Bands of 2 need fewer hashes but
# propose ten times as many pairs, whose number grows with the square of the number of questions.
BANDS, BAND_SIZE = 96, 3
SHORT_WORDS = 20
"""Stems with fewer words are short: different questions may have the same short stem."""

PAIR_SCHEMA = pa.schema(
    {
        "id_a": pa.string(),  # the question that comes first in the tables
        "id_b": pa.string(),
        "split_a": pa.string(),  # dataset/split
        "split_b": pa.string(),
        "kind": pa.string(),  # exact or near
        "similarity": pa.float64(),  # Jaccard index of the stems, 0 to 1
        "shared_options": pa.int64(),  # options that both have
        "same_answer": pa.bool_(),  # whether the correct answers agree: options' texts, numbers with units, or texts
        "stem_a": pa.string(),
        "stem_b": pa.string(),
        "options_a": pa.list_(pa.string()),
        "options_b": pa.list_(pa.string()),
    }
)
CLUSTER_SCHEMA = pa.schema(
    {
        "question_id": pa.string(),
        "split": pa.string(),  # dataset/split
        "repeats": pa.string(),  # the first question of the split that is an exact duplicate, or its own id
        "cluster": pa.string(),  # the first question of the split connected by exact or near pairs
    }
)


def words(stem: str) -> tuple[str, ...]:
    """Return the words of a stem in lower case, without punctuation."""
    return tuple(re.findall(r"\w+", unicodedata.normalize("NFKC", stem).casefold()))


def shingles(stem: str) -> frozenset[tuple[str, ...]]:
    """Return all runs of five words in a stem; a shorter stem is one run."""
    parts = words(stem)
    return frozenset(parts[i : i + SHINGLE_WORDS] for i in range(max(1, len(parts) - SHINGLE_WORDS + 1)))


def jaccard(a: frozenset[tuple[str, ...]], b: frozenset[tuple[str, ...]]) -> float:
    """Return the number of common shingles divided by the number of all shingles, 0 to 1."""
    return len(a & b) / len(a | b)


def find_pairs(questions: pd.DataFrame, near_similarity: float = LEAST_SIMILARITY) -> pd.DataFrame:
    """Return every pair of duplicates in `questions` (PAIR_SCHEMA), in the table's order.

    Args:
        questions: the questions of all splits of an experiment (QUESTION_SCHEMA); ids are unique.
        near_similarity: least similarity of a near-duplicate, at least LEAST_SIMILARITY.
    """
    splits = (questions["dataset"] + "/" + questions["split"]).tolist()
    sets = [shingles(stem) for stem in questions["stem"]]
    exact = _exact_pairs(questions)
    near = {(i, j): jaccard(sets[i], sets[j]) for i, j in _candidates(sets) if (i, j) not in exact}
    found = [(i, j, "exact", jaccard(sets[i], sets[j])) for i, j in exact]
    found += [(i, j, "near", similarity) for (i, j), similarity in near.items() if similarity >= near_similarity]
    ids, stems = (questions[column].tolist() for column in ("question_id", "stem"))
    answers = [_answers(key_of(question)) for question in questions.to_dict("records")]
    options = [list(texts) for texts in questions["options"]]
    short = [len(words(stem)) < SHORT_WORDS for stem in stems]
    rows = []
    for i, j, kind, similarity in sorted(found):
        first, second = ([normalise_text(text) for text in options[k]] for k in (i, j))
        shared, agree = len(set(first) & set(second)), not answers[i].isdisjoint(answers[j])
        alike = shared or not (short[i] or short[j]) if first and second else agree
        if kind == "near" and not alike:
            continue
        place = (ids[i], ids[j], splits[i], splits[j], kind, similarity, shared, agree)
        rows.append((*place, stems[i], stems[j], options[i], options[j]))
    return pd.DataFrame(rows, columns=PAIR_SCHEMA.names)


def _answers(key: Key) -> frozenset[str]:
    """Return the correct answers of a question in one spelling."""
    match key:
        case LetterKey():
            return frozenset([normalise_text(key.options[key.gold])])
        case NumberKey():
            return frozenset([f"{correct_answer(key)} {key.unit}".strip()])
        case TextKey():
            return frozenset(map(normalise_text, key.accepted))


def find_clusters(questions: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """Return what each question repeats within its own split (CLUSTER_SCHEMA), in the table's order.

    Args:
        questions: the argument of `find_pairs`.
        pairs: the result of `find_pairs`.
    """
    within = pairs[pairs["split_a"] == pairs["split_b"]]
    table = questions[["question_id"]].assign(split=questions["dataset"] + "/" + questions["split"])
    ids = questions["question_id"].to_numpy()
    table["repeats"] = ids[_first_of_component(ids, within[within["kind"] == "exact"])]
    table["cluster"] = ids[_first_of_component(ids, within)]
    return table


def _first_of_component(ids: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    place = pd.Series(range(len(ids)), index=ids)
    edges = (place[pairs["id_a"]].to_numpy(), place[pairs["id_b"]].to_numpy())
    graph = coo_array((np.ones(len(pairs), dtype=bool), edges), shape=(len(ids), len(ids)))
    _, labels = connected_components(graph, directed=False)
    _, first, component = np.unique(labels, return_index=True, return_inverse=True)
    return first[component]


def _exact_pairs(questions: pd.DataFrame) -> set[tuple[int, int]]:
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, (stem, options) in enumerate(zip(questions["stem"], questions["options"], strict=True)):
        groups[words(stem), tuple(sorted(map(normalise_text, options)))].append(i)
    return {pair for group in groups.values() for pair in combinations(group, 2)}


def _candidates(sets: list[frozenset[tuple[str, ...]]]) -> set[tuple[int, int]]:
    """Return index pairs (i < j) that share a band of their MinHashes."""
    # Imported here because it imports scipy, which the other users of this module do not need.
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=BANDS * BAND_SIZE, params=(BANDS, BAND_SIZE))
    encoded = [[" ".join(shingle).encode() for shingle in shingle_set] for shingle_set in sets]
    # The index has millions of small objects. Garbage collection visits them repeatedly and is 2.7 times slower.
    gc.disable()
    try:
        for i, signature in enumerate(MinHash.bulk(encoded, num_perm=BANDS * BAND_SIZE)):
            index.insert(i, signature, check_duplication=False)
    finally:
        gc.enable()
    # Reading the filled tables is faster than querying each signature before inserting it.
    buckets = (table.get(key) for table in index.hashtables for key in table.keys())  # noqa: SIM118 (no dict)
    return {pair for bucket in buckets if len(bucket) > 1 for pair in combinations(sorted(bucket), 2)}
