"""The miniature of calculations, and questions of all kinds, on the real stack; too short to learn anything."""

import csv
import hashlib
import json
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from pipeline import snakemake

from medrlvr.data.calculations.world import QUESTION_SETS, draw_from
from medrlvr.evaluation.early_answers import CLAIM
from medrlvr.runtime.files import read_parquet

pytestmark = [pytest.mark.slow, pytest.mark.extended]

SETS = ["calculations", "calculations_formulas", "calculations_ranges"]
SHORT = {
    "experiment": "short_calculations",
    "claims": False,
    "calculations": {"train": 32, "dev": 16, "test": 16, "formulas_test": 16, "ranges_test": 16},
    "arms": {
        "sft": {"epochs": 1},
        "rlvr": {"episodes": 1, "prompts_per_update": 16, "train_batch_size": 16, "save_every": 1},
    },
}
SIZES = {"train": 32, "dev": 12, "test": 24}
MIXED = {
    "experiment": "short_mixed",
    "claims": False,
    "data": {"mirror": "mirror", "train": "mixed/train", "development": "mixed/dev"},
    "benchmarks": {
        **dict.fromkeys(SETS),
        "mixed": {"data": "mixed/test", "distribution": "in", "title": "All kinds"},
    },
    "arms": SHORT["arms"],
}


def run_short(clone: Path, overlay: dict[str, Any]) -> Path:
    """Run an experiment with the base of calculations and return its results."""
    (clone / "short.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    run = snakemake("--configfile", "config/miniature.yaml", "config/calculations.yaml", "short.yaml", cwd=clone)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return clone / "results" / str(overlay["experiment"])


@pytest.fixture(scope="module")
def results(clone: Path) -> Path:
    return run_short(clone, SHORT)


def rows_of_all_kinds(number: int, rng: random.Random) -> list[dict[str, Any]]:
    """Return questions about patients whose answer is a number, a letter and a text in turn."""
    rows = []
    for index in range(number):
        case = draw_from(QUESTION_SETS["train"], rng)
        row: dict[str, Any] = dict.fromkeys(("value", "options", "letter", "texts"))
        row["question"] = f"Patient {index}. {case.stem}"
        if index % 3 == 0:
            row["value"] = case.answer
        elif index % 3 == 1:
            row |= {"options": [str(case.answer + step) for step in (-7, 0, 5, 11)], "letter": "B"}
        else:
            row["texts"] = [str(case.answer), f"about {case.answer}"]
        rows.append(row)
    return rows


def add_to_registry(clone: Path) -> None:
    """Write the data set `mixed` into the mirror folder, and its rows into the registry."""
    registry, rng = clone / "config/datasets.tsv", random.Random(1)
    with registry.open(encoding="utf-8", newline="") as file:
        columns = next(csv.reader(file, delimiter="\t"))
    (clone / "mirror").mkdir()
    for (split, size), role in zip(SIZES.items(), ("train", "development", "test"), strict=True):
        path = clone / "mirror" / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows_of_all_kinds(size, rng)), encoding="utf-8")
        row = {
            **{"dataset": "mixed", "split": split, "role": role, "home": "local", "status": "unverified"},
            **{
                "file": path.name,
                "mirror_file": path.name,
                "rows": str(size),
                "stem": "question",
                "options": "options",
            },
            "answer": "letter:letter,value:number,texts:accepted",
            "hash": f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}",
            **{"licence": "Apache-2.0", "citation": "this project"},
        }
        with registry.open("a", encoding="utf-8") as file:
            file.write("\t".join(row.get(column, "-") for column in columns) + "\n")


def test_numbers_are_trained_graded_and_compared(results: Path) -> None:
    rollouts = read_parquet(results / "rollouts/rlvr/seed1/rollouts.parquet")
    assert rollouts.groupby("update").size().to_dict() == {1: 32, 2: 32}
    assert (rollouts.loc[rollouts["correct"], "reward"] == 1).all()
    for model in ("base", "sft/seed1", "rlvr/seed1"):
        scores = read_parquet(results / f"eval/{model}/scores.parquet")
        assert sorted(scores["benchmark"].unique()) == SETS
        assert set(scores["mode"]) == {"chain_of_thought", "direct"}
        assert scores.loc[scores["mode"] == "chain_of_thought", "reasons"].notna().all()
    base = read_parquet(results / "eval/base/scores.parquet")
    assert base.loc[base["mode"] == "chain_of_thought", "lenient_correct"].mean() > 0.1, "the base calculates"


def test_the_claim_about_early_answers_has_one_row_and_one_seed_decides_nothing(results: Path) -> None:
    claims = json.loads((results / "compare/claims.json").read_text(encoding="utf-8"))["claims"]
    (early,) = [claim for claim in claims if claim["claim"] == CLAIM]
    assert (early["benchmark"], early["verdict"], early["n"], early["outcome"]) == (
        "calculations",
        "undecided",
        32,
        None,
    )
    page = (results / "report.html").read_text(encoding="utf-8")
    assert page.count(CLAIM) >= 2


def test_questions_of_all_kinds_are_trained_graded_and_shown_together(clone: Path) -> None:
    add_to_registry(clone)
    results = run_short(clone, MIXED)
    rollouts = read_parquet(results / "rollouts/rlvr/seed1/rollouts.parquet")
    assert rollouts.groupby("update").size().to_dict() == {1: 32, 2: 32}
    questions = read_parquet(results / "data/questions/mixed/test.parquet").set_index("question_id")
    expected = dict.fromkeys(product(("chain_of_thought", "direct"), ("letter", "number", "text")), 8)
    for model in ("base", "sft/seed1", "rlvr/seed1"):
        scores = read_parquet(results / f"eval/{model}/scores.parquet")
        kinds = scores["question_id"].map(questions["kind"])
        assert scores.groupby(["mode", kinds]).size().to_dict() == expected
    page = (results / "report.html").read_text(encoding="utf-8")
    assert all(f"kind: {kind}</td><td>8</td>" in page for kind in ("letter", "number", "text"))
