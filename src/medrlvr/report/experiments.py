"""Several experiments, with all their arms and seeds, in one report: `medrlvr compare`."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from markupsafe import Markup

from medrlvr.config.experiment import Experiment
from medrlvr.config.layout import Layout
from medrlvr.config.load import load_config, read_keys
from medrlvr.config.results_version import check_version
from medrlvr.report.figures.panels import draw_panels, panels_table
from medrlvr.report.figures.style import COLUMN, STAGE_NAMES, save
from medrlvr.report.metrics_table import accuracy_interval, read_metrics
from medrlvr.report.page import inline_svg, render_page
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json, read_parquet, write_text

FINISHED = ("config.yaml", "report.html", "compare/comparisons.json")
"""Files in the results folder of a finished experiment."""


def read_experiment(results: Path) -> Experiment:
    """Return the settings of a finished experiment.

    Raises:
        UserError: the folder contains no finished experiment.
    """
    check_version(results)
    for name in FINISHED:
        if not (results / name).is_file():
            raise UserError(
                f"{results} is not a finished experiment: {name} is missing. Run the experiment to its end first, or"
                " give another folder."
            )
    file = results / "config.yaml"
    return load_config(read_keys(file), [file])


def accuracy_rows(results: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """Return one row for each benchmark, arm and mode.

    Returns:
        experiment, benchmark, title, questions (start of their file's SHA-256), arm, mode, n, accuracy (mean over
        seeds), low and high (95 % interval: over seeds if there are three or more, over questions if there is one,
        otherwise None), any_letter (accuracy of any readable answer), models (name of each model and its accuracies).
    """
    titles = {name: benchmark.title for name, benchmark in experiment.benchmarks.items()}
    paths = {model: str(results / "eval" / model / "metrics.json") for model in experiment.models()}
    metrics = read_metrics(paths, titles)
    hashes = question_hashes(results)
    compared = read_json(results / "compare/comparisons.json")
    rows = []
    for row in compared["arms"]:
        own = metrics[metrics["benchmark"].eq(row["benchmark"]) & metrics["mode"].eq(row["mode"])]
        own = own[own["model"].str.split("/").str[0] == row["arm"]]
        low, high = accuracy_interval(own, row["over_seeds"])
        rows.append(
            {
                "experiment": results.name,
                "benchmark": row["benchmark"],
                "title": titles[row["benchmark"]],
                "questions": hashes[row["benchmark"]],
                "arm": row["arm"],
                "mode": row["mode"],
                "n": row["n"],
                "accuracy": row["accuracy"],
                "low": low,
                "high": high,
                "any_letter": float(own["lenient_accuracy"].mean()),
                "models": own[["model", "accuracy", "lenient_accuracy"]].to_dict("records"),
            }
        )
    return rows


def question_hashes(results: Path) -> dict[str, str]:
    """Return the start of the SHA-256 of each benchmark's questions; only equal questions give comparable numbers."""
    inputs = read_json(results / "eval/base/metrics.json")["provenance"]["inputs"]
    return {Path(path).stem: digest.removeprefix("sha256:")[:8] for path, digest in inputs.items()}


def differing_settings(settings: Mapping[str, Experiment]) -> list[dict[str, Any]]:
    """Return the key of every setting that differs, and its values in the order of the experiments."""
    flat = [flat_settings(experiment.model_dump(mode="json")) for experiment in settings.values()]
    keys = dict.fromkeys(key for values in flat for key in values)
    return [
        {"key": key, "values": [values.get(key, "not set") for values in flat]}
        for key in keys
        if len({values.get(key) for values in flat}) > 1
    ]


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return the key of every setting, with dots between its parts and after `prefix`, and its value as JSON."""
    return dict(_flatten(values, prefix))


def _flatten(value: Any, key: str) -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for name, inner in value.items() for pair in _flatten(inner, f"{key}.{name}" if key else name)]
    return [(key, json.dumps(value))]


def stage_rows(results: Path, experiment: Experiment) -> list[dict[str, Any]]:
    """Return for each RLVR run its bands, its alarms and the number of responses with self-verification."""
    found = {run: read_json(results / f"dynamics/{run}/stages.json") for run in Layout(experiment).rlvr_runs}
    return [{"experiment": results.name, "run": run, **stages} for run, stages in found.items()]


def write_page(folders: Sequence[Path], page: Path) -> None:
    """Write the report on several experiments, and next to it its figure and the figure's table.

    Args:
        folders: results folders of finished experiments.
        page: HTML file; the other files are named after it.

    Raises:
        UserError: a folder contains no finished experiment, or two folders have the same name.
    """
    names = [folder.name for folder in folders]
    if len(set(names)) < len(names):
        raise UserError(f"Two folders have the same name, {max(names, key=names.count)}. Rename one of them.")
    settings = {folder.name: read_experiment(folder) for folder in folders}
    table = panels_table(pd.concat([_dynamics(folder, settings[folder.name]) for folder in folders]), "ablations")
    figure = page.with_name(f"{page.stem}.svg")
    write_text(figure.with_suffix(".csv"), table.to_csv(index=False))
    narrow = figure.with_stem(f"{figure.stem}_column")
    save(draw_panels(table, "ablations"), figure)
    save(draw_panels(table, "ablations", COLUMN), narrow)
    rows = [row for folder in folders for row in accuracy_rows(folder, settings[folder.name])]
    values = {
        "experiments": {name: experiment.title for name, experiment in settings.items()},
        "pages": {folder.name: quote(os.path.relpath(folder / "report.html", page.parent)) for folder in folders},
        "rows": sorted(rows, key=lambda row: (row["benchmark"], row["arm"], row["mode"])),
        "differences": differing_settings(settings),
        "runs": [row for folder in folders for row in stage_rows(folder, settings[folder.name])],
        "figure": Markup(inline_svg(figure)),
        "narrow": Markup(inline_svg(narrow)),
        "files": [figure.with_suffix(suffix).name for suffix in (".pdf", ".csv")],
        "stage_names": STAGE_NAMES,
        "created": datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
    }
    write_text(page, render_page(values, "comparison"))


def _dynamics(folder: Path, experiment: Experiment) -> pd.DataFrame:
    """Return the dynamics of an experiment's runs; arms are named \"experiment, arm\"."""
    table = pd.concat([read_parquet(folder / f"dynamics/{run}.parquet") for run in Layout(experiment).rlvr_runs])
    return table.assign(arm=f"{folder.name}, " + table["arm"])
