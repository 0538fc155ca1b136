"""Run the miniature of calculations with five seeds, and write the results of docs/calculations.md.

make calculations [ARGS="--results-only"]
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.evaluation.early_answers import CLAIM, WINDOW, early_rises, early_shares
from medrlvr.evaluation.statistics import seed_interval
from medrlvr.reference.markdown import splice, table
from medrlvr.reference.page import measured
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_json, write_text

OVERLAYS = ["config/miniature.yaml", "config/calculations.yaml", "config/calculations_five.yaml"]
DOCUMENT = Path("docs/calculations.md")
SHIPPED = Path("docs/calculations")
LETTERS = Path("docs/reference/reference/rlvr")
"""Shipped runs of the miniature with letters."""
COLUMNS = ["seed", "update", "responses", "valid_format", "stage_direct_answer_hacker", "correct", "lenient_correct"]
COLUMNS += ["reasons", "invented_evidence"]
SYSTEMS = (
    ("base", "chain_of_thought"),
    ("base", "direct"),
    ("sft", "direct"),
    ("rlvr", "chain_of_thought"),
    ("rlvr", "direct"),
)


def export(experiment: Experiment) -> None:
    """Copy what the tables need from the results: accuracies by arm, the claims, and the dynamics of each seed."""
    results = Path("results") / experiment.experiment
    compared = json.loads((results / "compare/comparisons.json").read_text(encoding="utf-8"))
    claims = json.loads((results / "compare/claims.json").read_text(encoding="utf-8"))
    write_json(SHIPPED / "arms.json", {"arms": compared["arms"], "provenance": compared["provenance"]})
    write_json(SHIPPED / "claims.json", claims)
    runs = [
        read_parquet(results / f"dynamics/rlvr/seed{seed}.parquet").assign(seed=seed)
        for seed in experiment.arms["rlvr"].seeds
    ]
    dynamics = pd.concat(runs, ignore_index=True)[COLUMNS]
    write_text(SHIPPED / "dynamics.csv", dynamics.to_csv(index=False, float_format="%.6g"))


def results_block(experiment: Experiment, shipped: Path = SHIPPED) -> str:
    """Return the Markdown with accuracies, verdicts and early answers, from the shipped files."""
    arms = json.loads((shipped / "arms.json").read_text(encoding="utf-8"))["arms"]
    claims = json.loads((shipped / "claims.json").read_text(encoding="utf-8"))["claims"]
    dynamics = pd.read_csv(shipped / "dynamics.csv")
    titles = {name: benchmark.title for name, benchmark in experiment.benchmarks.items()}
    questions = ", ".join(dict.fromkeys(str(row["n"]) for row in arms))
    parts = [
        f"Percent of {questions} questions for each set: required format \\| any readable answer, or one number if both"
        f" are the same; means over {dynamics['seed'].nunique()} seeds, with 95 % t-intervals over seeds. RLVR is the"
        " last checkpoint.",
        table([*_accuracies(arms, titles)]),
        "Verdicts, by the rules of [claims.md](claims.md) and of this page:",
        table([*_verdicts(claims, titles)]),
        f"Early answers, percent of the responses of valid format in {WINDOW} updates: the first, those with the"
        " largest share, and the last; means over seeds. The letters are those of the [reference"
        " run](reference/index.md), and early is defined in another way for them.",
        table([*_early(dynamics)]),
    ]
    return "\n\n".join(parts)


def _accuracies(arms: list[Mapping[str, Any]], titles: Mapping[str, str]) -> Iterator[list[str]]:
    found = {(row["benchmark"], row["arm"], row["mode"]): row for row in arms}
    yield ["model", *titles.values()]
    for arm, mode in SYSTEMS:
        cells = [found[name, arm, mode] for name in titles]
        name = {"sft": "SFT", "rlvr": "RLVR"}.get(arm, arm)
        yield [f"{name}, {mode.replace('_', ' ')}", *map(_cell, cells)]


def _cell(row: Mapping[str, Any]) -> str:
    return " \\| ".join(dict.fromkeys([_accuracy(row), _accuracy(row["any_letter"])]))


def _accuracy(one: Mapping[str, Any]) -> str:
    ends = one["over_seeds"]
    interval = f" ({max(100 * ends['low'], 0):.1f} to {min(100 * ends['high'], 100):.1f})" if ends else ""
    return f"{100 * one['accuracy']:.1f}{interval}"


def _verdicts(claims: list[Mapping[str, Any]], titles: Mapping[str, str]) -> Iterator[list[str]]:
    yield ["test set", "claim", "verdict", "required format", "any readable answer"]
    for row in claims:
        other = measured(row["any_letter"], share=False) if row["any_letter"] else "-"
        value = "-" if row["value"] is None else measured(row, share=row["unit"] == "percent")
        where = "training" if row["claim"] == CLAIM else titles[row["benchmark"]]
        yield [where, row["claim"], f"**{row['verdict']}**", value, other]


def _early(numbers: pd.DataFrame) -> Iterator[list[str]]:
    yield ["answers", "seeds", "first", "largest", "last", "rise, points"]
    runs = {"numbers": [run for _, run in numbers.groupby("seed")]}
    runs["letters"] = [pd.read_csv(file) for file in sorted(LETTERS.glob("seed*/updates.csv"))]
    for name, tables in runs.items():
        shares = [early_shares(one).dropna() for one in tables]
        picked = [(one.iloc[0], one.max(), one.iloc[-1]) for one in shares]
        means = [f"{100 * float(np.mean(values)):.0f}" for values in zip(*picked, strict=True)]
        yield [name, str(len(tables)), *means, _rise(early_rises(tables))]


def _rise(rises: list[float] | None) -> str:
    interval = seed_interval(rises, 0.0, 0.95) if rises else None
    if rises is None or interval is None:
        return "-"
    return measured({"low": interval[0], "value": np.mean(rises), "high": interval[1]}, share=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--results-only", action="store_true", help="only write the results of a finished run")
    experiment = read_overlays(OVERLAYS)
    if not parser.parse_args().results_only:
        command = [sys.executable, "-m", "medrlvr.cli.main", "run", *OVERLAYS]
        if subprocess.run(command, check=False).returncode:
            raise UserError("The run has failed or was interrupted. The same command resumes it.")
    export(experiment)
    write_text(DOCUMENT, splice(DOCUMENT, "results", results_block(experiment)))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
