"""Accuracies of the pooled runs, by both readings, as Markdown."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from medrlvr.evaluation.comparison.predictions import Reading
from medrlvr.evaluation.statistics import seed_interval
from medrlvr.reference.markdown import table
from medrlvr.reference.pooled import Pool

READINGS: Mapping[Reading, str] = {"correct": "required format", "lenient_correct": "any readable letter"}


def accuracy_section(found: Pool) -> Iterator[str]:
    """Yield the paragraphs of the section on accuracy."""
    yield "### Accuracy"
    yield (
        f"Percent of {questions_each(found)} questions for each set: required format | any readable letter, or one"
        " number if both are the same. The second column has the number of training seeds. In brackets the 95 %"
        " t-interval over seeds, for arms with three or more; it does not cover other questions. RLVR is the last"
        " checkpoint."
    )
    models = found.models()
    rows = [(arm, arm, mode) for arm in models for mode in _modes(found, models[arm][0])]
    yield accuracy_table(found, rows)


def accuracy_table(found: Pool, rows: Iterable[tuple[str, str, str]]) -> str:
    """Return the table of accuracies by both readings, one column per test set, with a row for guessing.

    Args:
        rows: name of the row, arm and mode of each row.
    """
    titles = {name: benchmark.title for name, benchmark in found.part.experiment.benchmarks.items()}
    cells = [
        ["model", "seeds", *titles.values()],
        ["guessing", "-", *(f"{guessing(found, one):.1f}" for one in titles)],
    ]
    for name, arm, mode in rows:
        models = found.models()[arm]
        accuracy = [_cell(found, models, mode, benchmark) for benchmark in titles]
        cells.append([f"{name}, {mode.replace('_', ' ')}", "-" if arm == "base" else str(len(models)), *accuracy])
    return table(cells)


def guessing(found: Pool, benchmark: str) -> float:
    """Return the expected accuracy of guessing, in percent: the mean of 1 / number of options."""
    options = found.questions.loc[found.questions["benchmark"] == benchmark, "options"]
    return 100 * float((1 / options.map(len)).mean())


def _modes(found: Pool, model: str) -> list[str]:
    present = set(found.scores[model]["mode"])
    return [mode for mode in found.part.experiment.modes_of(model) if mode in present]


def _cell(found: Pool, models: Sequence[str], mode: str, benchmark: str) -> str:
    texts = [_mean_with_interval(accuracies(found, models, mode, benchmark, name)) for name in READINGS]
    return " \\| ".join(dict.fromkeys(texts))


def accuracies(found: Pool, models: Sequence[str], mode: str, benchmark: str, reading: Reading) -> list[float]:
    """Return the accuracy of each model on one benchmark, in one mode and by one reading."""
    tables = [found.scores[model] for model in models]
    return [
        float(one.loc[(one["benchmark"] == benchmark) & (one["mode"] == mode), reading].astype(float).mean())
        for one in tables
    ]


def _mean_with_interval(values: Sequence[float]) -> str:
    interval = seed_interval(list(values), 0.0, 0.95) if len(values) > 2 else None
    mean = f"{100 * float(np.mean(values)):.1f}"
    return f"{mean} ({100 * max(interval[0], 0):.1f} to {100 * min(interval[1], 1):.1f})" if interval else mean


def questions_each(found: Pool) -> str:
    """Return the number of questions of the test sets: one number, or one for each set in their order."""
    counts = found.questions["benchmark"].value_counts()
    return ", ".join(dict.fromkeys(f"{counts[name]:,}" for name in found.part.experiment.benchmarks))
