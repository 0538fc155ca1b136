"""Write the report of an experiment from the files of its steps, and its configuration next to it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config.design import ComparisonDesign
from medrlvr.config.experiment import Experiment
from medrlvr.report.controls import ControlFiles
from medrlvr.report.cost import phase_costs, read_jobs
from medrlvr.report.metrics_table import read_metrics
from medrlvr.report.page import render_page
from medrlvr.report.page_data import PageInputs, page_values
from medrlvr.runtime.environment import ENGINE_PACKAGE
from medrlvr.runtime.files import write_text

PACKAGES = ("snakemake", "openrlhf", "deepspeed", "ray", "torch", "transformers")
"""Packages whose versions the report names, in addition to the engine's."""
RUN_FILES = ("rollouts", "responses", "dynamics", "stages")
SENSITIVITY_FILES = ("record", "requests", "answers", "questions")
"""Files of each run's sensitivity; the rule's inputs have the prefix sensitivity_."""
TABLES = ("comparisons", "verdict", "data_card", "base", "base_metrics", "kills")
LARGE = 15_000_000
"""Bytes above which a report may be too large for email."""


def collect_inputs(files: Mapping[str, Any], params: Mapping[str, Any], results: Path, now: Experiment) -> PageInputs:
    """Return the inputs of the report.

    Args:
        files: name of an input of the rule `render_report` -> its file or files.
        params: parameters of this rule; models, runs, questions, trained and probed are in the order of their
            files.
        results: the experiment's folder.
        now: the present configuration. The machine does not affect a result, so it is not a parameter of the rule.

    Raises:
        ValueError: a list of names and the list of its files differ in length.
    """
    by_model = _named(params["models"], files["metrics"])
    packages = (*PACKAGES, ENGINE_PACKAGE[now.machine.device])
    return PageInputs(
        experiment={**params["experiment"], "machine": now.machine.model_dump(mode="json")},
        metrics=read_metrics(by_model, params["titles"]),
        titles=params["titles"],
        design=ComparisonDesign(**params["design"]),
        runs=_named(params["runs"], _by_run(files, RUN_FILES)),
        checkpoints=_named(params["runs"], files["checkpoints"]),
        generations=by_model,
        scores=_named(params["models"], files["scores"]),
        shown=params["shown"],
        questions=_named(params["questions"], files["questions"]),
        selections=_named(params["trained"], files["selections"]),
        tables={name: files[name] for name in TABLES},
        glossary=files["glossary"],
        figures=files["figures"],
        cost=phase_costs(read_jobs(results / "benchmarks", **params["gpus"])),
        records=params["records"],
        results=results,
        versions={name: version(name) for name in packages},
        created=datetime.now(UTC),
        explanation=files["explanation"],
        controls=ControlFiles(
            sensitivity=_named(params["probed"], _by_run(files, SENSITIVITY_FILES, "sensitivity_")),
            samples=next(iter(files["samples"]), None),
            formats=next(iter(files["formats"]), None),
        ),
    )


def _by_run(files: Mapping[str, Any], names: Sequence[str], prefix: str = "") -> list[dict[str, Any]]:
    """Return the named files of each run."""
    return [_named(names, paths) for paths in zip(*(files[prefix + name] for name in names), strict=True)]


def _named(names: Any, values: Any) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def write_report(inputs: PageInputs, now: Experiment, page: Path, config: Path) -> str:
    """Write the report and the configuration, and return a line with the report's size."""
    write_text(config, yaml.safe_dump(now.overlay(), sort_keys=False))
    text = render_page(page_values(inputs))
    write_text(page, text)
    size = len(text.encode())
    too_large = f", more than {LARGE / 1e6:.0f} MB: it may be too large for email" if size > LARGE else ""
    return f"report: {size / 1e6:.1f} MB{too_large}"
