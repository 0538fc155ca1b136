"""Write the results of README.md from result files, so that no number is typed by hand.

python -m medrlvr.report.readme results/<experiment>
"""

import argparse
import shutil
import sys
from pathlib import Path

import pandas as pd
import yaml

from medrlvr.config.load import load_config
from medrlvr.config.results_version import check_version
from medrlvr.report.metrics_table import read_metrics
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_text


def summarise_seeds(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row per benchmark, arm and mode, with the mean and the range over training seeds.

    Args:
        metrics: rows of `read_metrics`; the model is "base" or <arm>/seed<n>.

    Returns:
        title, arm, mode, seeds (their number), n; and for accuracy, lenient_accuracy and strict_format (fractions) the
        columns <name>, <name>_min and <name>_max.
    """
    table = metrics.assign(arm=metrics["model"].str.split("/").str[0])
    names = ["accuracy", "lenient_accuracy", "strict_format"]
    groups = table.groupby(["title", "arm", "mode"], sort=False)
    columns = {f"{name}{suffix}": (name, how) for name in names for suffix, how in _RANGE.items()}
    return groups.agg(seeds=("model", "nunique"), n=("n", "first"), **columns).reset_index()


_RANGE = {"": "mean", "_min": "min", "_max": "max"}


def results_table(summary: pd.DataFrame, sampled: pd.Series) -> str:
    """Return the Markdown block.

    Args:
        summary: as `summarise_seeds` returns it.
        sampled: whether the format is strict, for each response of the first updates, which the base model sampled.
    """
    titles = list(dict.fromkeys(summary["title"]))
    lines = [
        "| model, mode | " + " | ".join(titles) + " | strict format |",
        "|---|" + "---:|" * (len(titles) + 1),
    ]
    for (arm, mode), group in summary.groupby(["arm", "mode"], sort=False):
        cells = [_cell(group[group["title"] == title].iloc[0], "accuracy") for title in titles]
        tagged = mode == "chain_of_thought"
        strict = _cell(group[group["title"] == titles[0]].iloc[0], "strict_format") if tagged else "no tags requested"
        lines.append(f"| {arm}, {str(mode).replace('_', ' ')} | " + " | ".join(cells) + f" | {strict} |")
    seeds, n = summary["seeds"].max(), summary["n"].min()
    reasoned = summary[(summary["arm"] == "base") & (summary["mode"] == "chain_of_thought")]
    leniently = " and ".join(f"{100 * value:.1f}" for value in reasoned["lenient_accuracy"])
    lines += [
        "",
        f"Percent of {n} questions per benchmark, greedy decoding; mean and range over {seeds} training seeds. `rlvr`"
        " is the last checkpoint, as in the paper; `rlvr_dev` is the checkpoint with the best development accuracy."
        " Sampled at temperature 1, the base model follows the strict format in"
        f" {100 * sampled.mean():.0f} % of {len(sampled)} responses (the rollouts of the first updates). If letters"
        f" outside the tags also count, its greedy chain of thought is right on {leniently} % of the questions.",
    ]
    return "\n".join(lines)


def _cell(row: pd.Series, name: str) -> str:
    mean, low, high = (100 * row[f"{name}{suffix}"] for suffix in _RANGE)
    return f"{mean:.1f}" if row["seeds"] == 1 else f"{mean:.1f} ({low:.1f} to {high:.1f})"


def splice(readme: Path, name: str, block: str) -> str:
    """Return the README's text with `block` between the two markers of this name.

    Raises:
        UserError: a marker is missing.
    """
    text = readme.read_text(encoding="utf-8")
    begin, end = (f"<!-- {name}: {place} -->" for place in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1:
        raise UserError(f"{readme} must contain the lines {begin} and {end} exactly once each, around the {name}.")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{block}\n{end}{rest.split(end)[1]}"


def update(results: Path, readme: Path, figures: Path) -> None:
    """Write the block into the README, and copy its figure, with the CSV, to `figures`.

    Args:
        results: folder of a finished experiment.
        readme: path of README.md.
        figures: folder of figures.
    """
    check_version(results)
    file = results / "config.yaml"
    experiment = load_config(yaml.safe_load(file.read_text(encoding="utf-8")), [file])
    titles = {name: benchmark.title for name, benchmark in experiment.benchmarks.items()}
    paths = {model: str(results / "eval" / model / "metrics.json") for model in experiment.models()}
    metrics = read_metrics(paths, titles)
    shown = [
        model == "base" or mode == experiment.modes_of(model)[0]
        for model, mode in zip(metrics["model"], metrics["mode"], strict=True)
    ]
    tables = sorted((results / "rollouts").glob("*/*/rollouts.parquet"))
    rollouts = pd.concat([read_parquet(path, columns=["update", "strict_format"]) for path in tables])
    sampled = rollouts.loc[rollouts["update"] == 1, "strict_format"]
    block = results_table(summarise_seeds(metrics[shown]), sampled)
    write_text(readme, splice(readme, "results", block))
    figures.mkdir(parents=True, exist_ok=True)
    for suffix in ("svg", "csv"):
        shutil.copyfile(results / f"figures/dynamics.{suffix}", figures / f"dynamics.{suffix}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m medrlvr.report.readme",
        description="Write README.md's table and figure from the results of an experiment.",
    )
    parser.add_argument("results", type=Path, help="folder of a finished experiment")
    try:
        update(parser.parse_args().results, Path("README.md"), Path("docs/figures"))
    except UserError as error:
        sys.exit(str(error))
