"""Render the report, and write the configuration of its experiment next to it."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import yaml

from medrlvr.config.design import ComparisonDesign
from medrlvr.config.load import load_config
from medrlvr.report.cost import phase_costs, read_jobs
from medrlvr.report.index import rebuild_index
from medrlvr.report.metrics_table import read_metrics
from medrlvr.report.page import render_page
from medrlvr.report.page_data import PageInputs, page_values
from medrlvr.runtime.environment import ENGINE_PACKAGE
from medrlvr.runtime.files import write_text
from medrlvr.runtime.step_log import step_log

TABLES = ("comparisons", "verdict", "data_card", "base", "base_metrics", "kills")

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, params, output = snakemake.input, snakemake.params, snakemake.output
        # The machine does not affect a result, so it is not a parameter of the rule.
        machine = load_config(snakemake.config).machine
        experiment = {**params.experiment, "machine": machine.model_dump(mode="json")}
        engine = ENGINE_PACKAGE[machine.device]
        packages = ["snakemake", "openrlhf", "deepspeed", "ray", "torch", engine, "transformers"]
        results = Path(output.page).parent
        jobs = read_jobs(results / "benchmarks", **params.gpus)
        files = ("rollouts", "responses", "dynamics", "stages")
        page_inputs = PageInputs(
            experiment=experiment,
            metrics=read_metrics(dict(zip(params.models, inputs.metrics, strict=True)), params.titles),
            titles=params.titles,
            design=ComparisonDesign(**params.design),
            runs={
                run: dict(zip(files, paths, strict=True))
                for run, *paths in zip(params.runs, *(inputs[name] for name in files), strict=True)
            },
            checkpoints=dict(zip(params.runs, inputs.checkpoints, strict=True)),
            generations=dict(zip(params.models, inputs.metrics, strict=True)),
            scores=dict(zip(params.shown, inputs.scores, strict=True)),
            questions=dict(zip(params.questions, inputs.questions, strict=True)),
            selections=dict(zip(params.trained, inputs.selections, strict=True)),
            tables={name: inputs[name] for name in TABLES},
            glossary=inputs.glossary,
            figures=inputs.figures,
            cost=phase_costs(jobs),
            records=params.records,
            results=results,
            versions={name: version(name) for name in packages},
            created=datetime.now(UTC),
        )
        write_text(output.config, yaml.safe_dump(load_config(snakemake.config).overlay(), sort_keys=False))
        page = render_page(page_values(page_inputs))
        write_text(output.page, page)
        size = len(page.encode()) / 1e6
        notify(f"report: {size:.1f} MB{', more than 15 MB: it may be too large for email' if size > 15 else ''}")
        rebuild_index(results.parent, notify)
