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
from medrlvr.evaluation.early_answers import CLAIM, WINDOW, early_rise, early_share
from medrlvr.evaluation.statistics import seed_interval
from medrlvr.reference.markdown import splice, table
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


def results_block(experiment: Experiment) -> str:
    """Return the Markdown with accuracies, verdicts and early answers, from the shipped files."""
    arms = json.loads((SHIPPED / "arms.json").read_text(encoding="utf-8"))["arms"]
    claims = json.loads((SHIPPED / "claims.json").read_text(encoding="utf-8"))["claims"]
    titles = {name: benchmark.title for name, benchmark in experiment.benchmarks.items()}
    parts = [
        "Percent of 300 questions for each set: required format \\| any readable answer, or one number if both are the"
        " same; means over five seeds, with 95 % t-intervals over seeds. RLVR is the last checkpoint.",
        table([*_accuracies(arms, titles)]),
        "Verdicts, by the rules of [claims.md](claims.md) and of this page:",
        table([*_verdicts(claims, titles)]),
        f"Early answers: share of the sampled responses of valid format. *First* and *last* are means of {WINDOW}"
        f" updates, *highest* is the largest mean of {WINDOW} consecutive ones. The letters are those of the"
        " [reference run](reference/index.md).",
        table([*_early(pd.read_csv(SHIPPED / "dynamics.csv"))]),
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
        share = row["any_letter"] is None
        other = "-" if share else _measured(row["any_letter"], share)
        where = "training" if row["claim"] == CLAIM else titles[row["benchmark"]]
        yield [where, row["claim"], f"**{row['verdict']}**", _measured(row, share), other]


def _measured(row: Mapping[str, Any], share: bool) -> str:
    low, value, high = (100 * row[name] for name in ("low", "value", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})" if share else f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def _early(numbers: pd.DataFrame) -> Iterator[list[str]]:
    yield ["answers", "seeds", "first", "highest", "last", "rise, points"]
    runs = {"numbers": [run for _, run in numbers.groupby("seed")]}
    runs["letters"] = [pd.read_csv(file) for file in sorted(LETTERS.glob("seed*/updates.csv"))]
    for name, tables in runs.items():
        means = [early_share(one).rolling(WINDOW).mean().dropna() for one in tables]
        first, highest, last = (
            f"{100 * float(np.mean([pick(one) for one in means])):.0f} %"
            for pick in (lambda one: one.iloc[0], lambda one: one.max(), lambda one: one.iloc[-1])
        )
        rises = [early_rise(one) for one in tables]
        low, high = seed_interval(rises, 0.0, 0.95) or (0.0, 1.0)
        rise = f"{100 * float(np.mean(rises)):.1f} ({100 * max(low, 0):.1f} to {100 * high:.1f})"
        yield [name, str(len(tables)), first, highest, last, rise]


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
