"""Measure accuracy and speed of the duplicate search on the real data sets, for the tables of docs/data.md.

make benchmark MIRROR=folder
"""

import os
import random
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from medrlvr.config.data import Contamination
from medrlvr.data.contamination import find_matches, find_overlaps
from medrlvr.data.duplicates import find_clusters, find_pairs
from medrlvr.data.fetch import fetch
from medrlvr.data.questions import read_questions
from medrlvr.data.registry import load_registry
from medrlvr.reference.markdown import splice
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text

DOCUMENT = Path("docs/data.md")
SETS = ["medqa_4_options/train_partial", "medqa_4_options/dev", "medqa_4_options/test", "mmlu_pro_health/test"]
COPIED = 300
EDITS = (0, 1, 2, 4, 8, 16, 32, 64)
SIZES = (3_125, 6_250, 12_500, 25_000)
# As in the pipeline, each policy also removes exact duplicates.
POLICIES = {
    "exact": Contamination(remove=("exact",)),
    "near, 0.5 (ours)": Contamination(remove=("near",)),
    "near, 0.8": Contamination(remove=("near",), near_similarity=0.8),
    "64 characters": Contamination(remove=("char_overlap",)),
    "13 words": Contamination(remove=("word_overlap",)),
}


def read(mirror: Path) -> dict[str, pd.DataFrame]:
    sources = load_registry("config/datasets.tsv")
    tables = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in SETS:
            raw = Path(folder) / sources[name].raw_file
            fetch(sources[name], raw, mirror)
            tables[name], _ = read_questions(raw, sources[name], none_of_the_above=False)
    return tables


def edited(stem: str, edits: int, vocabulary: list[str], draw: random.Random) -> str:
    """Replace `edits` words, at different positions, by words from other questions."""
    words = stem.split()
    for place in draw.sample(range(len(words)), min(edits, len(words))):
        words[place] = draw.choice(vocabulary)
    return " ".join(words)


def quality(tables: dict[str, pd.DataFrame], benchmark: str) -> str:
    """Return the Markdown table of recall and precision.

    The training set contains copies of benchmark questions with edited words, and the same number of development
    questions, which are not copies.
    """
    draw = random.Random(1)
    held_out = tables[benchmark]
    copied = held_out.sample(COPIED, random_state=1)
    others = tables["medqa_4_options/dev"].sample(COPIED, random_state=1)
    vocabulary = " ".join(tables["medqa_4_options/train_partial"]["stem"].head(500)).split()
    lines = ["| words replaced | " + " | ".join(POLICIES) + " |", "|---:|" + "---:|" * len(POLICIES)]
    for edits in tqdm(EDITS, desc=benchmark):
        copies = copied.assign(stem=[edited(stem, edits, vocabulary, draw) for stem in copied["stem"]])
        train = pd.concat([copies, others]).assign(dataset="made", split="train")
        train["question_id"] = "made/" + train["question_id"]
        questions = pd.concat([train, held_out], ignore_index=True)
        cells = []
        for settings in POLICIES.values():
            pairs = find_pairs(questions, settings.near_similarity)
            runs = find_overlaps(questions, "made/train", settings.char_overlap, settings.word_overlap)
            matches = find_matches(questions, pairs, runs, "made/train", settings.removing)
            found = set(matches.loc[matches["removed"], "question_id"])
            right = len(found & {f"made/{name}" for name in copied["question_id"]})
            precision = f"{100 * right / len(found):.0f}" if found else "-"
            cells.append(f"{100 * right / COPIED:.0f} / {precision}")
        lines.append(f"| {edits} | " + " | ".join(cells) + " |")
    median = copied["stem"].str.split().str.len().median()
    return "\n".join(
        [
            *lines,
            "",
            f"Recall / precision in percent. The training set contains {COPIED} questions of {benchmark} (median:"
            f" {median:.0f} words) with this number of words replaced, and {COPIED} unchanged questions of"
            " medqa_4_options/dev.",
        ]
    )


def speed(tables: dict[str, pd.DataFrame]) -> str:
    """Return the Markdown table of times, for questions made of shuffled real sentences, with realistic boilerplate."""
    draw = random.Random(1)
    real = pd.concat(tables.values(), ignore_index=True)
    sentences = [sentence for stem in real["stem"] for sentence in stem.split(". ")]
    lines = ["| questions | pairs and clusters, s | runs, s |", "|---:|---:|---:|"]
    for size in tqdm(SIZES, desc="questions"):
        rows = real.sample(size, replace=True, random_state=1).reset_index(drop=True)
        stems = [". ".join(draw.sample(sentences, len(stem.split(". ")))) for stem in rows["stem"]]
        split = ["train"] * (size * 3 // 4) + ["test"] * (size - size * 3 // 4)
        made = rows.assign(stem=stems, dataset="made", split=split, question_id=[str(i) for i in range(size)])
        times = [time.perf_counter()]
        pairs = find_pairs(made)
        find_clusters(made, pairs)
        times.append(time.perf_counter())
        find_overlaps(made, "made/train", Contamination().char_overlap, Contamination().word_overlap)
        times.append(time.perf_counter())
        lines.append(f"| {size:,} | " + " | ".join(f"{b - a:.1f}" for a, b in pairwise(times)) + " |")
    load = os.getloadavg()[0]
    return "\n".join([*lines, "", f"{os.cpu_count()} cores, of which one is used; load {load:.1f}."])


if __name__ == "__main__":
    try:
        tables = read(Path(sys.argv[1]))
        blocks = [quality(tables, name) for name in ("medqa_4_options/test", "mmlu_pro_health/test")]
        blocks.append(speed(tables))
        write_text(DOCUMENT, splice(DOCUMENT, "results", "\n\n".join(blocks)))
    except UserError as error:
        sys.exit(str(error))
