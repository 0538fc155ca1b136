"""Draw each figure, with the table that it was drawn from beside it."""

import json
from pathlib import Path

import pandas as pd

from medrlvr.files import read_parquet, write_text
from medrlvr.job import job
from medrlvr.report.figures import accuracy_table, draw_accuracy, draw_dynamics, draw_training, save
from medrlvr.report.page import read_metrics

if __name__ == "__main__":
    with job(snakemake):
        inputs, params = snakemake.input, snakemake.params
        metrics = read_metrics(dict(zip(params.models, inputs.metrics, strict=True)), params.titles)
        sanity = json.loads(Path(inputs.comparisons).read_text(encoding="utf-8"))["sanity"]
        paper = pd.read_csv(inputs.paper, keep_default_na=False)
        dynamics = pd.concat([read_parquet(path) for path in inputs.dynamics], ignore_index=True)
        for name, draw, table in (
            ("accuracy", draw_accuracy, accuracy_table(metrics, sanity, paper, params.design)),
            ("dynamics", draw_dynamics, dynamics),
            ("training", draw_training, dynamics),
        ):
            write_text(snakemake.output[f"{name}_csv"], table.to_csv(index=False))
            save(draw(table), Path(snakemake.output[name]))
