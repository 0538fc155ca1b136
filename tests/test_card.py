"""The data card counts what is planted."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from planted import HELD_OUT, QUESTIONS, matched

from medrlvr.config.data import Contamination
from medrlvr.data import data_card as module
from medrlvr.data.contamination import MATCH_SCHEMA
from medrlvr.data.data_card import data_card
from medrlvr.data.duplicates import CLUSTER_SCHEMA, PAIR_SCHEMA, find_clusters, find_pairs
from medrlvr.data.questions import QUESTION_SCHEMA, REJECTED_SCHEMA
from medrlvr.data.registry import load_registry

ROOT = Path(__file__).parents[1]


def card(settings: Contamination | None = None) -> dict[str, Any]:
    """Of the planted questions, with a rejected row and a flagged one."""
    settings = settings or Contamination()
    row = load_registry(ROOT / "config" / "datasets.tsv")["medqa/train"]
    sources = [row.model_copy(update={"dataset": "world", "split": split}) for split in ("train", "test")]
    questions = QUESTIONS.assign(meta=["{}"] * 8 + ['{"flags": ["empty stem"]}'])
    reason = "answer 'F' is not among the options"
    rejected = pd.DataFrame([("world/train/9", "world", "train", "t.jsonl", 9, reason)], columns=REJECTED_SCHEMA.names)
    pairs = find_pairs(questions)
    return data_card(
        sources,
        questions,
        rejected,
        pairs,
        find_clusters(questions, pairs),
        matched(questions, "world/train", settings),
        {"train": questions.tail(3), "toy": HELD_OUT},
        settings,
        ROOT / "assets" / "miniature_base",
    )


def test_the_card_counts_what_is_planted() -> None:
    found = card()
    assert json.loads(json.dumps(found)) == found
    train, test = found["splits"]
    assert (train["questions"], train["rejected"], train["flagged"]) == (8, 1, 0)
    assert (test["questions"], test["rejected"], test["flagged"]) == (1, 0, 1)
    assert (train["repeats"], train["repeats_or_near"]) == (1, 4)
    assert train["letters"] == {"A": 8} and train["options"] == [{"options": 3, "questions": 8}]
    assert 0 < train["tokens"]["median"] <= train["tokens"]["p95"] <= train["tokens"]["longest"]
    assert found["files"][0]["hash"].startswith("git:")
    assert found["rejected"]["shown"][0]["reason"] == "answer 'F' is not among the options"
    assert found["flagged"] == {"rows": 1, "shown": [{"question_id": "world/test/1", "flags": "empty stem"}]}
    within, across = found["pairs"]
    assert (across["split_a"], across["split_b"]) == ("world/train", "world/test")
    assert (across["exact"], across["near"], across["near_from_0.7"], across["other_answer"]) == (2, 3, 2, 1)
    assert within["rows"] == len(within["shown"]) == 9
    rules = {row["rule"]: (row["removes"], row["in"], row["questions"]) for row in found["contamination"]["rules"]}
    assert rules == {
        "exact": (True, {"world/test": 2}, 2),
        "near": (True, {"world/test": 3}, 3),
        "char_overlap": (False, {"world/test": 6}, 6),
        "word_overlap": (False, {"world/test": 6}, 6),
    }
    assert found["removed"]["questions"] == 5
    assert found["used"] == {"train": 3, "toy": 1}


def test_the_card_states_what_removes_a_question() -> None:
    found = card(Contamination(remove=("word_overlap",)))["contamination"]["rules"]
    assert [row["rule"] for row in found if row["removes"]] == ["exact", "word_overlap"]


def test_long_lists_are_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOWN", 2)
    within = card()["pairs"][0]
    assert (within["rows"], len(within["shown"])) == (9, 2)
    assert within["shown"][0]["similarity"] == 1


def test_the_tables_are_documented() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([\w`, ]+)` \|", text, re.MULTILINE))
    named = {name for cell in documented for name in re.split(r"`, `", cell)}
    schemas = (QUESTION_SCHEMA, REJECTED_SCHEMA, PAIR_SCHEMA, CLUSTER_SCHEMA, MATCH_SCHEMA)
    assert {name for schema in schemas for name in schema.names} <= named
    assert set(card()) <= named
