"""The scores of a finished experiment on the console: a box on a terminal, otherwise plain lines."""

import csv
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import TextIO

from medrlvr.config.experiment import Experiment
from medrlvr.config.layout import Layout
from medrlvr.report.overview import mode_words
from medrlvr.runtime.terminal import is_terminal

READINGS = ("accuracy", "lenient_accuracy")
"""Columns of metrics.csv: required format, any readable answer."""

HEADING = "percent correct, required format (any readable answer)"


def arm_scores(
    experiment: Experiment, rows: Iterable[Mapping[str, str]]
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return (arm, mode) -> percent correct in both readings on each benchmark, means over training seeds.

    Each arm is listed in its primary mode, and the base model in all these modes.

    Args:
        experiment: the settings.
        rows: rows of compare/metrics.csv.
    """
    arms = list(dict.fromkeys(model.split("/")[0] for model in experiment.models()))
    first = {arm: experiment.modes_of(arm)[0] for arm in arms if arm != "base"}
    modes = dict.fromkeys(mode for mode in first.values() if mode in experiment.base.modes)
    found: dict[tuple[str, str, str], list[list[float]]] = {}
    for row in rows:
        arm = row["model"].split("/")[0]
        if row["stratum"] == "all" and arm in arms:
            key = (arm, row["mode"], row["benchmark"])
            found.setdefault(key, []).append([100 * float(row[reading]) for reading in READINGS])
    return {
        system: [_mean(found[*system, benchmark]) for benchmark in experiment.benchmarks]
        for system in [*(("base", mode) for mode in modes or experiment.base.modes[:1]), *first.items()]
    }


def _mean(seeds: list[list[float]]) -> tuple[float, float]:
    required, any_letter = (fmean(values) for values in zip(*seeds, strict=True))
    return required, any_letter


def _cell(score: tuple[float, float]) -> str:
    return "{:.1f} ({:.1f})".format(*score)


def print_scores(experiment: Experiment, stream: TextIO) -> None:
    """Print the scores of a finished experiment and the path of its report.

    Args:
        experiment: the settings.
        stream: output stream; a terminal gets a box.
    """
    results = Layout(experiment).results
    with (results / "compare/metrics.csv").open(encoding="utf-8", newline="") as file:
        scores = arm_scores(experiment, csv.DictReader(file))
    titles = [benchmark.title for benchmark in experiment.benchmarks.values()]
    page = f"The report: {results / 'report.html'}"
    if not is_terminal(stream):
        for (arm, mode), values in scores.items():
            on = ", ".join(f"{title} {_cell(value)}" for title, value in zip(titles, values, strict=True))
            print(f"{arm}, {mode_words(mode)}, {HEADING}: {on}", file=stream)
        print(page, file=stream, flush=True)
        return
    from rich.console import Console, Group
    from rich.panel import Panel
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("model, mode", no_wrap=True)
    for title in titles:
        table.add_column(title, justify="right")
    for (arm, mode), values in scores.items():
        table.add_row(f"{arm}, {mode_words(mode)}", *map(_cell, values))
    box = Panel(Group(table, "", page), title=f"{experiment.experiment}: {HEADING}", expand=False)
    Console(file=stream, highlight=False, markup=False).print(box)
