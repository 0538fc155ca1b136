"""Find training questions that a held-out split also contains, by several rules for comparison.

exact and near are the pairs of `duplicates.py`. char_overlap is a common run of 64 characters in both stems, the rule
that HuatuoGPT-o1 takes from Med-PaLM 2; word_overlap is a common run of 13 words, the rule of GPT-3. Boilerplate, such
as a closing question about the next step in management, can be longer than either run. These two rules therefore also
match questions that share only boilerplate; docs/data.md contains the figures.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa

from medrlvr.data.duplicates import words
from medrlvr.data.overlaps import code_points, longest_runs, numbered
from medrlvr.data.row_parsing import normalise_text

RUN_SCHEMA = pa.schema(
    {
        "question_id": pa.string(),  # of the training split
        "rule": pa.string(),  # char_overlap or word_overlap
        "held_out_split": pa.string(),  # dataset/split
        "held_out_id": pa.string(),  # the question that contains the run too
        "score": pa.float64(),  # length of the run; another question of the split may have a longer one
    }
)
MATCH_SCHEMA = pa.schema(
    {
        **{field.name: field.type for field in RUN_SCHEMA},  # also for exact and near, whose score is a Jaccard index
        "removed": pa.bool_(),  # whether the policy removes the question from training because of this match
        "stem": pa.string(),
        "held_out_stem": pa.string(),
    }
)


def find_overlaps(questions: pd.DataFrame, train: str, characters: int, words_in_row: int) -> pd.DataFrame:
    """Return one common run per training question, rule and held-out split, where one exists (RUN_SCHEMA).

    Args:
        questions: the questions of all splits (QUESTION_SCHEMA).
        train: dataset/split of the training questions; all others are held out.
        characters, words_in_row: least length of a run, in characters and in words.
    """
    split = (questions["dataset"] + "/" + questions["split"]).to_numpy()
    ids = questions["question_id"].to_numpy()
    training = np.flatnonzero(split == train)
    sequences = {
        "char_overlap": (characters, [code_points(normalise_text(stem)) for stem in questions["stem"]]),
        "word_overlap": (words_in_row, numbered([words(stem) for stem in questions["stem"]])),
    }
    rows = []
    for rule, (size, texts) in sequences.items():
        for name in sorted(set(split) - {train}):
            held_out = np.flatnonzero(split == name)
            runs = longest_runs([texts[i] for i in training], [texts[i] for i in held_out], size)
            for i, run in zip(training, runs, strict=True):
                if run is not None:
                    rows.append((ids[i], rule, name, ids[held_out[run[0]]], float(run[1])))
    return pd.DataFrame(rows, columns=RUN_SCHEMA.names)


def find_matches(
    questions: pd.DataFrame, pairs: pd.DataFrame, runs: pd.DataFrame, train: str, remove: Sequence[str]
) -> pd.DataFrame:
    """Return the best match of every training question by each rule in each held-out split (MATCH_SCHEMA).

    Args:
        questions: the questions of all splits (QUESTION_SCHEMA).
        pairs: the result of `find_pairs`.
        runs: the result of `find_overlaps`.
        train: dataset/split of the training questions.
        remove: the rules whose matches are removed from training.
    """
    table = pd.DataFrame([*_pair_matches(pairs, train), *runs.itertuples(index=False)], columns=RUN_SCHEMA.names)
    stems = questions.set_index("question_id")["stem"]
    table = table.assign(
        removed=table["rule"].isin(remove),
        stem=table["question_id"].map(stems),
        held_out_stem=table["held_out_id"].map(stems),
    )
    line = table["question_id"].map(pd.Series(range(len(questions)), index=questions["question_id"]))
    order = np.lexsort((table["rule"], table["held_out_split"], line))
    return pd.DataFrame(table.iloc[order].reset_index(drop=True))


def remove_known(train: pd.DataFrame, matches: pd.DataFrame) -> pd.DataFrame:
    """Return the training questions that no match removes.

    Args:
        train: questions of the training split (QUESTION_SCHEMA).
        matches: the result of `find_matches`.
    """
    known = matches.loc[matches["removed"], "question_id"]
    return train[~train["question_id"].isin(known)].reset_index(drop=True)


def _pair_matches(pairs: pd.DataFrame, train: str) -> Iterator[tuple[str, str, str, str, float]]:
    """Yield the most similar pair of each training question, kind and held-out split, in the columns of a match."""
    forward = pairs[(pairs["split_a"] == train) & (pairs["split_b"] != train)]
    backward = pairs[(pairs["split_b"] == train) & (pairs["split_a"] != train)]
    columns = ["question", "other", "split", "kind", "similarity"]
    across = pd.concat(
        [
            forward[["id_a", "id_b", "split_b", "kind", "similarity"]].set_axis(columns, axis=1),
            backward[["id_b", "id_a", "split_a", "kind", "similarity"]].set_axis(columns, axis=1),
        ]
    )
    best = across.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(
        ["question", "kind", "split"]
    )
    yield from best[["question", "kind", "split", "other", "similarity"]].itertuples(index=False, name=None)
