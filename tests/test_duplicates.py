"""Duplicates and contamination: planted ones, and the figures that were measured independently on the real files."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import HELD_OUT, PLANTED, QUESTIONS, STEM, matched, table

from medrlvr.config.data import Contamination
from medrlvr.data.contamination import MATCH_SCHEMA, remove_known
from medrlvr.data.duplicates import CLUSTER_SCHEMA, PAIR_SCHEMA, find_clusters, find_pairs, jaccard, shingles, words
from medrlvr.data.fetch import fetch
from medrlvr.data.overlaps import longest_runs
from medrlvr.data.questions import read_questions, write_table
from medrlvr.data.registry import load_registry
from medrlvr.runtime.files import read_parquet

ROOT = Path(__file__).parents[1]
MIRROR = Path(os.environ.get("MEDRLVR_MIRROR", ROOT.parent / "shared" / "data"))


def test_planted_duplicates_are_found() -> None:
    pairs = find_pairs(QUESTIONS)
    across = pairs[pairs.split_b == "world/test"].set_index("id_a")
    assert across.kind.to_dict() == {
        "world/train/1": "exact",
        "world/train/2": "exact",
        "world/train/3": "near",
        "world/train/4": "near",
        "world/train/5": "near",
    }
    # 25 words make 21 runs of five; a changed word breaks 5 of them, 8 words more add 8.
    assert len(words(STEM)) == 25
    assert across.similarity["world/train/3"] == 1
    assert across.similarity["world/train/4"] == pytest.approx(16 / 26)
    assert across.similarity["world/train/5"] == pytest.approx(21 / 29)
    assert across.shared_options.tolist() == [3, 3, 2, 3, 3]
    # Gold is the first option, and the second question has them in another order.
    assert across.same_answer.tolist() == [True, False, True, True, True]
    assert (across.stem_b == STEM).all() and across.stem_a["world/train/4"] == STEM.replace("nine", "ten")


def test_a_higher_threshold_leaves_pairs_out() -> None:
    near = find_pairs(QUESTIONS, near_similarity=0.7).query("kind == 'near' and split_b == 'world/test'")
    assert near.id_a.tolist() == ["world/train/3", "world/train/5"]


def test_each_rule_finds_what_it_states() -> None:
    matches = matched(QUESTIONS, "world/train")
    found = {rule: group.question_id.str[-1].tolist() for rule, group in matches.groupby("rule")}
    assert found == {
        "exact": ["1", "2"],
        "near": ["3", "4", "5"],
        "char_overlap": ["1", "2", "3", "4", "5", "8"],
        "word_overlap": ["1", "2", "3", "4", "5", "8"],
    }
    scores = matches.set_index(["question_id", "rule"]).score
    assert scores["world/train/8", "word_overlap"] == 13
    assert scores["world/train/8", "char_overlap"] == len(STEM.partition(" after")[0]) == 71
    assert scores["world/train/4", "word_overlap"] == len(words(STEM.partition(" nine")[0])) == 14
    assert scores["world/train/5", "word_overlap"] == 25
    assert (matches.held_out_id == "world/test/1").all()
    removed = {rule: sorted(set(matches.rule[matches.removed]) & {rule}) == [rule] for rule in found}
    assert removed == {"exact": True, "near": True, "char_overlap": False, "word_overlap": False}


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ((), "12345678"),
        (("exact",), "345678"),
        (("near",), "678"),  # and what is exact with it
        (("exact", "near"), "678"),
        (("char_overlap",), "67"),
    ],
)
def test_only_training_questions_are_removed_and_by_the_rules_named(rules: tuple[str, ...], kept: str) -> None:
    matches = matched(QUESTIONS, "world/train", Contamination.model_validate({"remove": rules}))
    assert remove_known(PLANTED, matches).question_id.str[-1].tolist() == list(kept)
    assert remove_known(HELD_OUT, matches).equals(HELD_OUT)


def test_duplicates_within_a_split_are_not_contamination() -> None:
    within = find_pairs(PLANTED)
    assert set(within.kind) == {"exact", "near"}
    assert matched(PLANTED, "world/train").empty
    # The training split may come after the held-out one.
    turned = pd.concat([HELD_OUT, PLANTED], ignore_index=True)
    matches = matched(turned, "world/train")
    assert remove_known(PLANTED, matches).question_id.str[-1].tolist() == ["6", "7", "8"]


def test_clusters_stay_within_a_split() -> None:
    clusters = find_clusters(QUESTIONS, find_pairs(QUESTIONS)).set_index("question_id")
    assert clusters.repeats["world/train/2"] == "world/train/1"
    assert clusters.cluster["world/train/5"] == "world/train/1"
    alone = ["world/train/6", "world/train/7", "world/train/8", "world/test/1"]
    assert clusters.cluster[alone].tolist() == clusters.repeats[alone].tolist() == alone


def test_every_pair_above_the_threshold_is_found() -> None:
    text = [f"w{i}" for i in range(60)]
    rows = [(" ".join(text[start : start + 30]), [str(start), "x"]) for start in range(0, 31, 2)]
    questions = table("world", "train", *rows)
    sets = [shingles(stem) for stem in questions.stem]
    expected = [
        (questions.question_id[i], questions.question_id[j])
        for i, j in combinations(range(len(sets)), 2)
        if jaccard(sets[i], sets[j]) >= 0.5
    ]
    found = find_pairs(questions)
    assert list(zip(found.id_a, found.id_b, strict=True)) == expected
    assert len(expected) > 20


sequences = st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=4)


def common(a: list[int], b: list[int]) -> int:
    """The longest common run, the slow way."""
    runs = {tuple(a[i:j]) for i, j in combinations(range(len(a) + 1), 2)}
    return max((j - i for i, j in combinations(range(len(b) + 1), 2) if tuple(b[i:j]) in runs), default=0)


@given(sequences, sequences, st.integers(1, 5))
def test_runs_are_those_of_the_slow_search(texts: list[list[int]], others: list[list[int]], size: int) -> None:
    as_arrays = [[np.array(text, np.uint64) for text in group] for group in (texts, others)]
    for text, found in zip(texts, longest_runs(*as_arrays, size), strict=True):
        longest = max((common(text, other) for other in others), default=0)
        assert (found is not None) == (longest >= size)
        if found is not None:
            assert size <= found[1] <= common(text, others[found[0]])


def test_short_stems_are_distinguished_by_their_options() -> None:
    stem = "Which of the following statements is true?"
    rows = [(stem, ["iron", "gold"]), (stem, ["zinc", "lead"]), (stem, ["gold", "tin"])]
    pairs = find_pairs(table("world", "train", *rows))
    assert pairs[["id_a", "id_b"]].values.tolist() == [["world/train/1", "world/train/3"]]
    assert pairs.similarity.tolist() == [1.0]


def test_an_exact_copy_too_short_for_a_run_is_removed_by_any_rule() -> None:
    questions = pd.concat([table("w", split, ("Which one?", ["iron", "gold"])) for split in ("train", "test")])
    matches = matched(
        questions.reset_index(drop=True), "w/train", Contamination.model_validate({"remove": ["word_overlap"]})
    )
    assert matches[["rule", "removed"]].values.tolist() == [["exact", True]]


def test_marks_distinguish_options() -> None:
    up_or_down = [(STEM, ["\u2191", "\u2193\u2193"]), (STEM, ["\u2191\u2191", "\u2193"])]
    assert find_pairs(table("world", "train", *up_or_down)).kind.tolist() == ["near"]


def test_no_pairs_are_an_empty_table_with_a_schema(tmp_path: Path) -> None:
    pairs = find_pairs(HELD_OUT)
    write_table(tmp_path / "duplicates.parquet", pairs, PAIR_SCHEMA)
    write_table(tmp_path / "clusters.parquet", find_clusters(HELD_OUT, pairs), CLUSTER_SCHEMA)
    matches = matched(HELD_OUT, "world/test")
    write_table(tmp_path / "contamination.parquet", matches, MATCH_SCHEMA)
    assert [
        len(read_parquet(tmp_path / f"{name}.parquet")) for name in ("duplicates", "clusters", "contamination")
    ] == [
        0,
        1,
        0,
    ]


WRITE = """
import sys; sys.path.insert(0, "tests")
from planted import QUESTIONS, matched
from medrlvr.data.contamination import MATCH_SCHEMA
from medrlvr.data.duplicates import CLUSTER_SCHEMA, PAIR_SCHEMA, find_clusters, find_pairs
from medrlvr.data.questions import write_table
pairs = find_pairs(QUESTIONS)
write_table(sys.argv[1] + "/pairs", pairs, PAIR_SCHEMA)
write_table(sys.argv[1] + "/clusters", find_clusters(QUESTIONS, pairs), CLUSTER_SCHEMA)
write_table(sys.argv[1] + "/matches", matched(QUESTIONS, "world/train"), MATCH_SCHEMA)
"""


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Whatever the order in which Python walks a set; tests/test_workflow.py has the whole stage on another core."""
    for run in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": run, "PYTHONPATH": "src"}
        command = [sys.executable, "-c", WRITE, str(tmp_path / run)]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
    for name in ("pairs", "clusters", "matches"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


@pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror folder (variable MEDRLVR_MIRROR)")
def test_the_known_figures_of_the_real_files(tmp_path: Path) -> None:
    sources = load_registry(ROOT / "config" / "datasets.tsv")
    names = {
        "train": "medqa_4_options/train_partial",
        "dev": "medqa_4_options/dev",
        "test": "medqa_4_options/test",
        "health": "mmlu_pro_health/test",
    }
    tables = {}
    for short, name in names.items():
        raw = tmp_path / sources[name].raw_file
        fetch(sources[name], raw, MIRROR)
        tables[short], _ = read_questions(raw, sources[name], none_of_the_above=False)
    questions = pd.concat(tables.values(), ignore_index=True)
    pairs = find_pairs(questions)

    def counts(a: str, b: str) -> list[int]:
        """Near-duplicates of two splits at 0.8, 0.7 and 0.5."""
        both = pairs[(pairs.split_a == names[a]) & (pairs.split_b == names[b]) & (pairs.kind == "near")]
        return [int((both.similarity >= threshold).sum()) for threshold in (0.8, 0.7, 0.5)]

    assert counts("train", "test") == [0, 1, 5]
    assert counts("train", "dev") == [0, 2, 3]
    assert counts("train", "train") == [0, 2, 7]
    assert counts("test", "test") == [0, 1, 2]
    assert all(counts(medqa, "health") == [0, 0, 0] for medqa in ("train", "dev", "test"))
    clusters = find_clusters(questions, pairs)
    repeated = clusters[clusters.repeats != clusters.question_id]
    assert repeated.split.value_counts().to_dict() == {names["health"]: 94}
    assert tables["health"].stem.map(words).nunique() == 684
    matches = matched(questions, names["train"])
    assert len(tables["train"]) - len(remove_known(tables["train"], matches)) == 8
    # Closing questions of exams are longer than these runs.
    assert matches.groupby("rule").question_id.nunique().to_dict() == {
        "char_overlap": 2168,
        "near": 8,
        "word_overlap": 1472,
    }
