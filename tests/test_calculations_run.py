"""The miniature of calculations on the real stack, too short to learn anything."""

import json
from pathlib import Path

import pytest
import yaml
from pipeline import snakemake

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


@pytest.fixture(scope="module")
def results(clone: Path) -> Path:
    (clone / "short.yaml").write_text(yaml.safe_dump(SHORT), encoding="utf-8")
    run = snakemake("--configfile", "config/miniature.yaml", "config/calculations.yaml", "short.yaml", cwd=clone)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return clone / "results/short_calculations"


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
