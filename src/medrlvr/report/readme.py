"""The block of README.md that is written from results: the table of accuracies and one question before and after RLVR.

python -m medrlvr.report.readme results/<experiment>
"""

import argparse
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import pandas as pd
import yaml

from medrlvr.config.design import comparison_design
from medrlvr.config.load import load_config
from medrlvr.config.results_version import check_version
from medrlvr.report.metrics_table import read_metrics
from medrlvr.report.overview import answers, mode_words
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_text

SHOWN_CHARS = 240
"""Characters of a response in the example. The middle of a longer response is left out."""


WIDTH = 88
"""Characters of a line of a response."""


def results_table(shown: Mapping[str, Any], labels: Mapping[str, str], sampled: Sequence[bool] | pd.Series) -> str:
    """Return the table of guessing, base, SFT and RLVR with its caption, as Markdown.

    Args:
        shown: as `overview.answers` returns it. RLVR is the last row; the base's row is the one of RLVR's mode.
        labels: arm -> name in the table.
        sampled: for each response to the first update's prompts, which the base itself generated, whether its format
            is strict.
    """
    tests, rlvr = shown["tests"], shown["rows"][-1]
    rows = [row for row in shown["rows"] if row["arm"] != "base" or row["mode"] == rlvr["mode"]]
    columns = [name for test in tests for name in (f"{test['title']}: required format", "any readable letter")]
    table = [["", *columns], ["---", *["---:"] * len(columns)]]
    table.append(["guessing", *(f"{100 * test['guess']:.1f}" for test in tests for _ in range(2))])
    for row in rows:
        cells = [text for cell in row["cells"] for text in (_with_range(cell), f"{100 * cell['lenient_accuracy']:.1f}")]
        table.append([f"{labels[row['arm']]}, {mode_words(row['mode'])}", *cells])
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    return "\n".join([*lines, "", _reading(shown, rlvr, sampled)])


def _reading(shown: Mapping[str, Any], rlvr: Mapping[str, Any], sampled: Sequence[bool] | pd.Series) -> str:
    counts = list(dict.fromkeys(f"{test['n']:,}" for test in shown["tests"]))
    each = f"{counts[0]} questions each" if len(counts) == 1 else f"{_listed(counts)} questions"
    if rlvr["seeds"] == 1:
        seeds = "one training seed; in brackets the 95 % interval over questions"
    else:
        seeds = f"mean of {rlvr['seeds']} seeds; in brackets their range, for the base the 95 % interval over questions"
    sentences = [f"Percent of {each}, {seeds}. RLVR is the last checkpoint, as in the paper."]
    bases = {row["mode"]: row["cells"] for row in shown["rows"] if row["arm"] == "base"}
    if base := bases.pop(rlvr["mode"], None):
        gain, remains = (
            _listed([f"{100 * (b[name] - a[name]):+.1f}" for a, b in zip(base, rlvr["cells"], strict=True)])
            for name in ("accuracy", "lenient_accuracy")
        )
        sentences.append(
            f"**RLVR minus base is {gain} points with the required format, but {remains} points if any readable letter"
            " counts: what the first number has beyond the second is format, not knowledge.**"
        )
    for mode, cells in bases.items():
        accuracies = _listed([f"{100 * cell['accuracy']:.1f}" for cell in cells])
        sentences.append(f"The base in SFT's mode ({mode_words(mode)}) is at {accuracies} %.")
    sentences.append(
        f"In the first update of training, {100 * sum(sampled) / len(sampled):.0f} % of the {len(sampled)} responses"
        " that the base samples keep the strict format."
    )
    return " ".join(sentences)


def _with_range(cell: Mapping[str, float]) -> str:
    mean, low, high = (100 * cell[name] for name in ("accuracy", "low", "high"))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


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
    longest = max(map(len, re.findall("`+", block)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{block}\n{fence}"


def shorten(response: str, chars: int = SHOWN_CHARS) -> str:
    """Return a response in one line. If it has more than `chars` characters, its middle is left out."""
    line = " ".join(response.split())
    if len(line) <= chars:
        return line
    half = chars // 2
    return f"{line[:half]} [... {len(line) - 2 * half:,} characters ...] {line[-half:]}"


def _verdict(letter: str | None, correct: bool) -> str:
    return f"{letter}, {'correct' if correct else 'wrong'}" if isinstance(letter, str) else "no letter, wrong"


def splice(readme: Path, name: str, block: str) -> str:
    """Return the README's text with `block` between the two markers of this name.

    Raises:
        UserError: a marker is missing.
    """
    text = readme.read_text(encoding="utf-8")
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(
            f"{readme} must contain the lines {begin} and {end} exactly once each, around the {name}. Restore them."
        )
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


def results_block(results: Path) -> str:
    """Return the README's block: the example, then the table.

    Args:
        results: folder of a finished experiment.

    Raises:
        UserError: the experiment has no RLVR arm, or another version wrote the folder.
    """
    check_version(results)
    file = results / "config.yaml"
    experiment = load_config(yaml.safe_load(file.read_text(encoding="utf-8")), [file])
    design = comparison_design(experiment)
    if design.rlvr is None:
        raise UserError(
            f"{results}: the experiment has no RLVR arm, so there is nothing to show before and after RLVR. Give the"
            " folder of an experiment with one."
        )
    titles = {name: benchmark.title for name, benchmark in experiment.benchmarks.items()}
    paths = {model: str(results / "eval" / model / "metrics.json") for model in experiment.models()}
    sanity = json.loads((results / "compare/comparisons.json").read_text(encoding="utf-8"))["sanity"]
    benchmarks = experiment.model_dump(mode="json")["benchmarks"]
    shown = answers(read_metrics(paths, titles), benchmarks, design, sanity)
    runs = [results / "rollouts" / run / "rollouts.parquet" for run in design.models[design.rlvr]]
    rollouts = pd.concat([read_parquet(path, columns=["update", "strict_format"]) for path in runs])
    sampled = rollouts.loc[rollouts["update"] == 1, "strict_format"]
    labels = {"base": "base", design.rlvr: "RLVR"} | ({design.sft: "SFT"} if design.sft else {})

    held_out = [name for name, place in design.distributions.items() if place == "out"]
    benchmark, mode = (held_out or design.benchmarks)[0], design.modes[design.rlvr][0]
    models = ("base", design.models[design.rlvr][0])
    example = choose_example(*(_scores(results, model, benchmark, mode) for model in models))
    questions = read_parquet(results / "data/benchmarks" / f"{benchmark}.parquet").set_index("question_id")
    source = f"{experiment.experiment}/eval/{{{','.join(models)}}}/scores.parquet"
    introduction = (
        f'One question of "{titles[benchmark]}" before and after RLVR ({mode_words(mode)}). It is the first of the'
        f" {example.same} of {example.n} questions with the most frequent outcome (`results/{source}`):"
    )
    text = example_text(example, questions.loc[example.question_id])
    return "\n\n".join([introduction, text, results_table(shown, labels, sampled)])


def _scores(results: Path, model: str, benchmark: str, mode: str) -> pd.DataFrame:
    table = read_parquet(results / "eval" / model / "scores.parquet")
    return table[(table["benchmark"] == benchmark) & (table["mode"] == mode) & (table["sample"] == 0)]


def update(results: Path, readme: Path, figures: Path) -> None:
    """Write the block into the README, and copy the accuracy curve with its CSV into `figures`.

    Args:
        results: folder of a finished experiment.
        readme: path of README.md.
        figures: folder of figures.
    """
    write_text(readme, splice(readme, "results", results_block(results)))
    figures.mkdir(parents=True, exist_ok=True)
    for suffix in ("svg", "csv"):
        shutil.copyfile(results / f"figures/dynamics.{suffix}", figures / f"dynamics.{suffix}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m medrlvr.report.readme", description="Write README.md's table and figure from an experiment."
    )
    parser.add_argument("results", type=Path, help="folder of a finished experiment")
    try:
        update(parser.parse_args().results, Path("README.md"), Path("docs/figures"))
    except UserError as error:
        sys.exit(str(error))
