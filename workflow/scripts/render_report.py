"""Render the page and, beside it, the resolved configuration that it reports on."""

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from medrlvr.config import load
from medrlvr.environment import ENGINE_PACKAGE
from medrlvr.files import read_parquet, write_text
from medrlvr.job import job
from medrlvr.report.page import inline_svg, pick_examples, read_metrics, render_page


def describe_run(name: str, path: str) -> dict[str, Any]:
    """Count a run's rollouts and pick the examples that the page shows."""
    rollouts = read_parquet(path)
    updates = sorted(rollouts["update"].unique())
    shown = list(dict.fromkeys([updates[0], updates[len(updates) // 2], updates[-1]]))
    examples = pick_examples(rollouts, shown)
    return {"name": name, "updates": len(updates), "responses": len(rollouts), "examples": examples}


if __name__ == "__main__":
    with job(snakemake):
        # The machine is no part of a result, so it is no parameter of the rule.
        machine = load(snakemake.config).model_dump(mode="json", include={"machine"})
        experiment, titles = {**snakemake.params.experiment, **machine}, snakemake.params.titles
        rlvr = [arm for arm in experiment["arms"].values() if arm["trainer"] == "rlvr"]
        packages = [
            "openrlhf",
            "deepspeed",
            "ray",
            "torch",
            ENGINE_PACKAGE[machine["machine"]["device"]],
            "transformers",
        ]
        metrics = read_metrics(dict(zip(snakemake.params.models, snakemake.input.metrics, strict=True)), titles)
        values = {
            "title": experiment["title"],
            "experiment": experiment["experiment"],
            "claims": experiment["claims"],
            "created": datetime.now(UTC).strftime("%-d %B %Y, %H:%M UTC"),
            "resamples": experiment["evaluation"]["bootstrap_resamples"],
            "temperature": ", ".join(str(arm["temperature"]) for arm in rlvr),
            "titles": titles,
            "last_taken": snakemake.params.runs,
            "benchmarks": experiment["benchmarks"],
            "metrics": metrics.to_dict("records"),
            "comparisons": json.loads(Path(snakemake.input.comparisons).read_text(encoding="utf-8")),
            "counts": json.loads(Path(snakemake.input.counts).read_text(encoding="utf-8")),
            "base": json.loads(Path(snakemake.input.base).read_text(encoding="utf-8")),
            "selections": {
                run: json.loads(Path(path).read_text(encoding="utf-8"))
                for run, path in zip(snakemake.params.trained, snakemake.input.selections, strict=True)
            },
            # The only values that are not escaped: SVG that draw_figures made from numbers.
            "figures": {Path(path).stem: Markup(inline_svg(Path(path))) for path in snakemake.input.figures},
            "runs": [
                describe_run(name, path)
                for name, path in zip(snakemake.params.runs, snakemake.input.rollouts, strict=True)
            ],
            "versions": {name: version(name) for name in ["snakemake", *packages]},
        }
        write_text(snakemake.output.config, yaml.safe_dump(experiment, sort_keys=False))
        write_text(snakemake.output.page, render_page(Path(snakemake.input.template), values))
