"""Write the data card: the experiment's questions, their sources, and the problems found in them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.data import Contamination
from medrlvr.data.registry import Source
from medrlvr.grading.letters import LETTERS
from medrlvr.models.tokens import token_counts

SHOWN = 10
"""Number of rows of each kind in the card; the tables contain all rows."""
FILE_FACTS = ("name", "role", "home", "revision", "status", "file", "member", "hash", "rows", "licence", "citation")


def data_card(
    sources: Sequence[Source],
    questions: pd.DataFrame,
    rejected: pd.DataFrame,
    pairs: pd.DataFrame,
    clusters: pd.DataFrame,
    matches: pd.DataFrame,
    used: Mapping[str, pd.DataFrame],
    contamination: Contamination,
    base: Path,
) -> dict[str, Any]:
    """Return the card, ready for JSON.

    Args:
        sources: the registry's rows for the experiment, the training set first.
        questions: the questions of all sources (QUESTION_SCHEMA).
        rejected: rows that did not become questions (REJECTED_SCHEMA).
        pairs, clusters, matches: the results of `find_pairs`, `find_clusters` and `find_matches`.
        used: name -> questions used for training, selection or evaluation.
        contamination: the removal policy.
        base: folder of the base model; its tokenizer counts the tokens.

    Returns:
        files, splits, rejected, flagged, pairs, contamination, removed, used: docs/data.md describes each.
    """
    flags = questions["meta"].map(lambda meta: json.loads(meta).get("flags", []))
    removed = matches[matches["removed"]]
    held_out = [source.name for source in sources[1:]]
    return {
        "files": [{fact: getattr(source, fact) for fact in FILE_FACTS} for source in sources],
        "splits": _splits(sources, questions, flags, rejected, clusters, base),
        "rejected": _shown(rejected[["question_id", "source_file", "source_line", "reason"]]),
        "flagged": _shown(questions[["question_id"]].assign(flags=flags.str.join("; "))[flags.str.len() > 0]),
        "pairs": [_pairs_of(group) for _, group in pairs.groupby(["split_a", "split_b"], sort=False)],
        "contamination": {
            "policy": contamination.model_dump(mode="json"),
            "rules": [
                _rule_matches(rule, matches, held_out, rule in contamination.removing)
                for rule in ("exact", "near", "char_overlap", "word_overlap")
            ],
        },
        "removed": {"questions": _distinct(removed), **_shown(removed.drop(columns="removed"))},
        "used": {name: len(table) for name, table in used.items()},
    }


def _splits(
    sources: Sequence[Source],
    questions: pd.DataFrame,
    flags: "pd.Series[Any]",
    rejected: pd.DataFrame,
    clusters: pd.DataFrame,
    base: Path,
) -> list[dict[str, Any]]:
    """Return one record per data set and split, in the order of `sources`."""
    split = questions["dataset"] + "/" + questions["split"]
    texts = ["\n".join([stem, *options]) for stem, options in zip(questions["stem"], questions["options"], strict=True)]
    lengths = pd.Series(token_counts(base, texts), index=questions.index)
    return [
        {
            "name": source.name,
            "role": source.role,
            "rejected": int((rejected["dataset"] + "/" + rejected["split"] == source.name).sum()),
            "flagged": int((flags[split == source.name].str.len() > 0).sum()),
            **_described(questions[split == source.name], lengths[split == source.name]),
            **_repetition(clusters[clusters["split"] == source.name]),
        }
        for source in sources
    ]


def _rule_matches(rule: str, matches: pd.DataFrame, held_out: Sequence[str], removes: bool) -> dict[str, Any]:
    """Return the number of training questions that one rule matches, for each held-out split and in total."""
    found = matches[matches["rule"] == rule]
    return {
        "rule": rule,
        "removes": removes,
        "in": {name: _distinct(found[found["held_out_split"] == name]) for name in held_out},
        "questions": _distinct(found),
    }


def _described(questions: pd.DataFrame, lengths: pd.Series) -> dict[str, Any]:
    letters = questions[questions["options"].map(len) > 0]
    options, golds = letters["options"].map(len), letters["gold"].astype(int)
    kinds = {"kinds": questions["kind"].value_counts(sort=False).to_dict()} if questions.get("kind") is not None else {}
    return {
        "questions": len(questions),
        **kinds,
        "letters": {LETTERS[gold]: int((golds == gold).sum()) for gold in sorted(set(golds))},
        "options": [{"options": size, "questions": int((options == size).sum())} for size in sorted(set(options))],
        "tokens": {
            name: int(np.quantile(lengths, share, method="higher")) if len(lengths) else 0
            for name, share in (("median", 0.5), ("p95", 0.95), ("longest", 1.0))
        },
    }


def _repetition(clusters: pd.DataFrame) -> dict[str, int]:
    """Count questions that repeat an earlier one of the split: exactly, and exactly or nearly."""
    return {
        "repeats": int((clusters["repeats"] != clusters["question_id"]).sum()),
        "repeats_or_near": int((clusters["cluster"] != clusters["question_id"]).sum()),
    }


def _pairs_of(pairs: pd.DataFrame) -> dict[str, Any]:
    exact, near = pairs[pairs["kind"] == "exact"], pairs[pairs["kind"] == "near"]
    ordered = pairs.sort_values("similarity", ascending=False, kind="stable")
    return {
        "split_a": pairs["split_a"].iloc[0],
        "split_b": pairs["split_b"].iloc[0],
        "exact": len(exact),
        "near": len(near),
        "near_from_0.7": int((near["similarity"] >= 0.7).sum()),
        "near_from_0.8": int((near["similarity"] >= 0.8).sum()),
        "other_answer": int((~exact["same_answer"].astype(bool)).sum()),
        **_shown(ordered.drop(columns=["split_a", "split_b"])),
    }


def _shown(table: pd.DataFrame) -> dict[str, Any]:
    """Return the number of rows, and the first `SHOWN` rows as plain values."""
    return {"rows": len(table), "shown": json.loads(table.head(SHOWN).to_json(orient="records", double_precision=6))}


def _distinct(matches: pd.DataFrame) -> int:
    return int(matches["question_id"].nunique())
