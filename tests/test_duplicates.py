"""Duplicates: planted ones, and the figures that were measured independently on the real files."""

import os
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest

from medrlvr.data.duplicates import PAIR_SCHEMA, find_duplicates, jaccard, remove_known, shingles, words
from medrlvr.data.fetch import fetch
from medrlvr.data.questions import read_questions, write_table
from medrlvr.data.registry import load_registry
from medrlvr.files import read_parquet

ROOT = Path(__file__).parents[1]
MIRROR = Path(os.environ.get("MEDRLVR_MIRROR", ROOT.parent / "shared" / "data"))

STEM = (
    "A sailor of forty years comes ashore with bleeding gums and loose teeth after nine months without any fruit; "
    "which of these does he lack?"
)
OPTIONS = ["ascorbic acid", "thiamine", "retinol"]


def table(dataset: str, split: str, *rows: tuple[str, list[str]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "question_id": f"{dataset}/{split}/{i}",
                "dataset": dataset,
                "split": split,
                "stem": stem,
                "options": options,
            }
            for i, (stem, options) in enumerate(rows, start=1)
        ]
    )


PLANTED = table(
    "world",
    "train",
    (STEM.upper().replace(";", " -"), OPTIONS),  # exact but for case and punctuation
    (STEM, OPTIONS[::-1]),  # options in another order
    (STEM, ["ascorbic acid", "thiamine", "niacin"]),  # another option
    (STEM.replace("nine", "ten"), OPTIONS),  # one word changed
    (STEM + " He was well before he went to sea.", OPTIONS),  # a sentence added
    ("What is missing in the diet of a seaman whose gums bleed?", OPTIONS),  # a paraphrase: no shared words in order
    ("Which of these does he lack?", OPTIONS),  # a short part
)
HELD_OUT = table("world", "test", (STEM, OPTIONS))


def test_planted_duplicates_are_found() -> None:
    pairs = find_duplicates(pd.concat([PLANTED, HELD_OUT], ignore_index=True))
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
    found = find_duplicates(questions)
    assert list(zip(found.id_a, found.id_b, strict=True)) == expected
    assert len(expected) > 20


def test_marks_tell_options_apart() -> None:
    up_or_down = [(STEM, ["\u2191", "\u2193\u2193"]), (STEM, ["\u2191\u2191", "\u2193"])]
    assert find_duplicates(table("world", "train", *up_or_down)).kind.tolist() == ["near"]


def test_only_training_questions_of_a_held_out_split_are_removed() -> None:
    pairs = find_duplicates(pd.concat([PLANTED, HELD_OUT], ignore_index=True))
    assert remove_known(PLANTED, pairs).question_id.tolist() == [f"world/train/{i}" for i in range(3, 8)]
    within = find_duplicates(PLANTED)
    assert set(within.kind) == {"exact", "near"}
    assert remove_known(PLANTED, within).equals(PLANTED)


def test_no_pairs_are_an_empty_table_with_a_schema(tmp_path: Path) -> None:
    pairs = find_duplicates(HELD_OUT)
    write_table(tmp_path / "duplicates.parquet", pairs, PAIR_SCHEMA)
    assert len(read_parquet(tmp_path / "duplicates.parquet")) == 0


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    questions = pd.concat([PLANTED, HELD_OUT], ignore_index=True)
    for run in ("first", "second"):
        write_table(tmp_path / run, find_duplicates(questions), PAIR_SCHEMA)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


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
    pairs = find_duplicates(pd.concat(tables.values(), ignore_index=True))

    def counts(a: str, b: str) -> list[int]:
        """Near-duplicates of two splits at 0.8, 0.7 and 0.5."""
        both = pairs[(pairs.split_a == names[a]) & (pairs.split_b == names[b]) & (pairs.kind == "near")]
        return [int((both.similarity >= threshold).sum()) for threshold in (0.8, 0.7, 0.5)]

    assert counts("train", "test") == [0, 1, 5]
    assert counts("train", "dev") == [0, 2, 3]
    assert counts("train", "train") == [0, 2, 7]
    assert counts("test", "test") == [0, 1, 2]
    assert all(counts(medqa, "health") == [0, 0, 0] for medqa in ("train", "dev", "test"))
    repeats = pairs[(pairs.split_a == names["health"]) & (pairs.kind == "exact")]
    assert repeats.id_b.nunique() == 94
    assert tables["health"].stem.map(words).nunique() == 684
    assert remove_known(tables["train"], pairs).equals(tables["train"])
