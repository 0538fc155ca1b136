"""Draw each figure, with the table that it was drawn from beside it."""

from pathlib import Path

import pandas as pd

from medrlvr.files import read_parquet, write_text
from medrlvr.job import job
from medrlvr.report.figures import draw_accuracy, draw_dynamics, draw_training, save
from medrlvr.report.page import read_metrics

if __name__ == "__main__":
    with job(snakemake):
        metrics = read_metrics(
            dict(zip(snakemake.params.models, snakemake.input.metrics, strict=True)), snakemake.params.titles
        )
        dynamics = pd.concat([read_parquet(path) for path in snakemake.input.dynamics], ignore_index=True)
        for name, draw, table in (
            ("accuracy", draw_accuracy, metrics),
            ("dynamics", draw_dynamics, dynamics),
            ("training", draw_training, dynamics),
        ):
            write_text(snakemake.output[f"{name}_csv"], table.to_csv(index=False))
            save(draw(table), Path(snakemake.output[name]))
