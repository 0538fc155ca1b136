"""The block of README.md that is written from the shipped runs: one question before and after RLVR, and accuracies."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.comparison.predictions import Reading
from medrlvr.reference.accuracy import READINGS, accuracies, accuracy_table, questions_each
from medrlvr.reference.markdown import fenced, splice
from medrlvr.reference.pooled import Pool, pool
from medrlvr.reference.runs import Part, all_runs
from medrlvr.runtime.files import write_text

SHOWN_CHARS = 240
"""Characters of a response in the example. The middle of a longer response is left out."""
WIDTH = 88
"""Characters of a line of a response."""


def write_readme(readme: Path, part: Part) -> None:
    """Write the block from the shipped runs of an experiment; without a run of base, SFT and RLVR, leave it.

    Raises:
        UserError: the block's markers are missing in `readme`.
    """
    found = pool(part, all_runs([part]))
    design = found.design() if found else None
    if found and design and design.sft:
        write_text(readme, splice(readme, "results", results_block(found, design)))


def results_block(found: Pool, design: ComparisonDesign) -> str:
    """Return the README's block: the example, the table of accuracies, and how to read it.

    Args:
        design: base, SFT and RLVR, each in the mode of its claims.
    """
    sft, rlvr = design.sft, design.rlvr
    assert sft is not None and rlvr is not None
    mode, direct = design.modes[rlvr][0], design.modes[sft][0]
    rows = [("base", "base", mode), ("base", "base", direct), ("SFT", sft, direct), ("RLVR", rlvr, mode)]
    return "\n\n".join([*_example(found, rlvr, mode), accuracy_table(found, rows), " ".join(_reading(found, design))])


def _reading(found: Pool, design: ComparisonDesign) -> Iterator[str]:
    """Yield the sentences under the table, the least flattering first."""
    assert design.sft is not None and design.rlvr is not None
    benchmarks = list(found.part.experiment.benchmarks)
    rlvr, sft = found.models()[design.rlvr], found.models()[design.sft]
    mode, direct = design.modes[design.rlvr][0], design.modes[design.sft][0]
    strict, lenient = (
        _points(_mean(found, rlvr, mode, name, one) - _mean(found, ["base"], mode, name, one) for name in benchmarks)
        for one in READINGS
    )
    base_modes = found.part.experiment.modes_of("base")
    best = {
        name: max(_mean(found, ["base"], one, name, "lenient_correct") for one in base_modes) for name in benchmarks
    }
    least = _points(_mean(found, rlvr, mode, name, "lenient_correct") - best[name] for name in benchmarks)
    yield (
        f"**By any readable letter, RLVR minus the base's best mode is {least} points. The base has read a few careful"
        " examples, so a gain was possible by construction.**"
    )
    yield (
        f"In RLVR's own mode the difference is {lenient} by any readable letter and {strict} with the required format:"
        " what the last has beyond the first is format, not knowledge."
    )
    own = _points(_mean(found, sft, direct, name) - _mean(found, ["base"], direct, name) for name in benchmarks)
    yield f"SFT minus the base's direct answers is {own}."
    true = float(np.mean([_reasoned(found.scores[model], mode) for model in rlvr]))
    yield f"In {100 * true:.1f} % of RLVR's test responses, all steps of the reasoning are present and true."
    yield (
        f"Percent of {questions_each(found)} questions for each set, required format | any readable letter (one number"
        " if both are the same), means over seeds, with 95 % t-intervals over seeds for three or more. RLVR is the last"
        " checkpoint, as in the paper."
    )


def _mean(found: Pool, models: Sequence[str], mode: str, benchmark: str, reading: Reading = "correct") -> float:
    return float(np.mean(accuracies(found, models, mode, benchmark, reading)))


def _points(differences: Iterable[float]) -> str:
    return _listed([f"{100 * one:+.1f}" for one in differences])


def _reasoned(scores: pd.DataFrame, mode: str) -> float:
    return float(scores.loc[scores["mode"] == mode, "reasons"].astype(float).mean())


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _example(found: Pool, rlvr: str, mode: str) -> Iterator[str]:
    """Yield the first set out of distribution's typical question, before and after RLVR, with an introduction."""
    experiment = found.part.experiment
    benchmark = next(name for name, one in experiment.benchmarks.items() if one.distribution == "out")
    models = ["base", found.models()[rlvr][0]]
    tables = [found.scores[model] for model in models]
    example = choose_example(*(one[(one["benchmark"] == benchmark) & (one["mode"] == mode)] for one in tables))
    questions = found.questions[found.questions["benchmark"] == benchmark].set_index("question_id")
    yield (
        f'One question of "{experiment.benchmarks[benchmark].title}" before and after RLVR ({mode.replace("_", " ")},'
        f" {models[1]}). It is the first of the {example.same} of {example.n} questions with the most frequent outcome:"
    )
    yield example_text(example, questions.loc[example.question_id])


@dataclass(frozen=True, slots=True)
class Example:
    """One question with a response of two models.

    Attributes:
        question_id: id of the question.
        before, after: the rows of the two models' scores.
        same: number of questions with the same outcome as this one: whether each model is correct, with the required
            format and by any readable letter, and whether the think block of the second names the correct option.
        n: number of questions.
    """

    question_id: str
    before: pd.Series
    after: pd.Series
    same: int
    n: int


def choose_example(before: pd.DataFrame, after: pd.DataFrame) -> Example:
    """Return the first question with the most frequent outcome, so that the example is typical, not hand-picked.

    Args:
        before, after: scores of two models, one row per question; the order is `before`'s.
    """
    after = after.set_index("question_id").loc[before["question_id"]]
    names = ["correct", "lenient_correct"]
    parts = [table[name] for table in (before, after) for name in names] + [after["gold_named_at"].notna()]
    outcomes = list(zip(*parts, strict=True))
    most = max(outcomes, key=outcomes.count)
    first = outcomes.index(most)
    return Example(
        before["question_id"].iloc[first], before.iloc[first], after.iloc[first], outcomes.count(most), len(outcomes)
    )


def example_text(example: Example, question: Any) -> str:
    """Return the example as a fenced block: the question, then response and verdicts of each model.

    Args:
        question: with stem, options (texts) and gold (index of the correct option).
    """
    options = "  ".join(f"{letter}. {text}" for letter, text in zip(ascii_uppercase, question["options"], strict=False))
    parts = [("Question", [question["stem"], options, f"correct: {ascii_uppercase[question['gold']]}"])]
    for name, row in (("Before", example.before), ("After", example.after)):
        strict = _verdict(row["letter"], row["correct"])
        lenient = _verdict(row["lenient_letter"], row["lenient_correct"])
        response = textwrap.wrap(shorten(row["response"]), WIDTH) or ["(empty)"]
        parts.append((name, [*response, f"required format: {strict}", f"any readable letter: {lenient}"]))
    block = "\n\n".join(
        "\n".join(f"{name if number == 0 else '':<10}{line}" for number, line in enumerate(lines))
        for name, lines in parts
    )
    return fenced(block)


def shorten(response: str, chars: int = SHOWN_CHARS) -> str:
    """Return a response in one line. If it has more than `chars` characters, its middle is left out."""
    line = " ".join(response.split())
    if len(line) <= chars:
        return line
    half = chars // 2
    return f"{line[:half]} [... {len(line) - 2 * half:,} characters ...] {line[-half:]}"


def _verdict(letter: str | None, correct: bool) -> str:
    return f"{letter}, {'correct' if correct else 'wrong'}" if isinstance(letter, str) else "no letter, wrong"
