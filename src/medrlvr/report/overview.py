"""The first table of the report: base, SFT and RLVR on each benchmark."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from medrlvr.config.design import ComparisonDesign


def answers(
    metrics: pd.DataFrame, benchmarks: Mapping[str, Any], design: ComparisonDesign, sanity: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return the results of base, SFT and RLVR for the first screen.

    Returns:
        `tests`: title, place (in or out of distribution), n and guess (accuracy of uniform guesses) of each benchmark;
        `rows`: arm, mode, seeds, and one of `cells` for each benchmark: accuracy and lenient_accuracy (means over
        seeds), low and high (with one seed the 95 % interval over questions, with several seeds their range).
    """
    tests, rows = [], []
    for name, benchmark in benchmarks.items():
        guess = next(row for row in sanity[name] if row["policy"] == "uniform random")
        place = "in distribution" if benchmark["distribution"] == "in" else "out of distribution"
        tests.append({"title": benchmark["title"], "place": place, "n": guess["n"], "guess": guess["accuracy"]})
    for arm, mode in paper_arms(design):
        own = metrics[metrics["model"].isin(design.models[arm]) & (metrics["mode"] == mode)]
        groups = [own[own["benchmark"] == name] for name in benchmarks]
        cells = [
            {
                "accuracy": group["accuracy"].mean(),
                "lenient_accuracy": group["lenient_accuracy"].mean(),
                "low": group["accuracy_low" if len(group) == 1 else "accuracy"].min(),
                "high": group["accuracy_high" if len(group) == 1 else "accuracy"].max(),
            }
            for group in groups
        ]
        rows.append({"arm": arm, "mode": mode, "seeds": max(map(len, groups)), "cells": cells})
    return {"tests": tests, "rows": rows}


def paper_arms(design: ComparisonDesign) -> list[tuple[str, str]]:
    """Return the arms that answer the paper's question, each with its primary mode."""
    trained = [(arm, design.modes[arm][0]) for arm in (design.sft, design.rlvr) if arm]
    base = dict.fromkeys(("base", mode) for _, mode in trained if mode in design.modes["base"])
    return [*base, *trained]


def mode_words(mode: str) -> str:
    """Return a mode's name in words."""
    return mode.replace("_", " ")
