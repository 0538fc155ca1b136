"""Render the page and, beside it, the resolved configuration that it reports on."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import yaml

from medrlvr.config import load
from medrlvr.environment import ENGINE_PACKAGE
from medrlvr.files import write_text
from medrlvr.job import job
from medrlvr.report.page import page_values, read_metrics, render_page

if __name__ == "__main__":
    with job(snakemake):
        inputs, params = snakemake.input, snakemake.params
        # The machine is no part of a result, so it is no parameter of the rule.
        machine = load(snakemake.config).machine
        experiment = {**params.experiment, "machine": machine.model_dump(mode="json")}
        engine = ENGINE_PACKAGE[machine.device]
        packages = ["snakemake", "openrlhf", "deepspeed", "ray", "torch", engine, "transformers"]
        values = page_values(
            experiment,
            read_metrics(dict(zip(params.models, inputs.metrics, strict=True)), params.titles),
            titles=params.titles,
            design=params.design,
            runs=dict(zip(params.runs, inputs.rollouts, strict=True)),
            selections=dict(zip(params.trained, inputs.selections, strict=True)),
            tables={name: inputs[name] for name in ("comparisons", "verdict", "data_card", "base")},
            figures=inputs.figures,
            versions={name: version(name) for name in packages},
            created=datetime.now(UTC),
        )
        write_text(snakemake.output.config, yaml.safe_dump(load(snakemake.config).overlay(), sort_keys=False))
        write_text(snakemake.output.page, render_page(Path(inputs.template), values))
