"""Draw each figure, and write the table that it was drawn from next to it."""

from functools import partial
from pathlib import Path

import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.report.figures.accuracy import accuracy_table, draw_accuracy
from medrlvr.report.figures.curve import bands_of, curve_table, draw_curve
from medrlvr.report.figures.panels import draw_panels, panels_table
from medrlvr.report.figures.style import COLUMN, PAGE, save
from medrlvr.report.metrics_table import read_metrics
from medrlvr.runtime.files import read_json, read_parquet, write_text
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, params, output = snakemake.input, snakemake.params, snakemake.output
        design = ComparisonDesign(**params.design)
        dynamics = pd.concat([read_parquet(path) for path in inputs.dynamics], ignore_index=True)
        shown = dynamics[dynamics["arm"] == design.rlvr]
        stages = dict(zip(params.runs, inputs.stages, strict=True))
        curve = curve_table(
            shown,
            bands_of({seed: stages[f"{design.rlvr}/seed{seed}"] for seed in shown["seed"].unique()}),
            pd.read_csv(inputs.figure2),
            pd.read_csv(inputs.papers_stages),
            {"development": "development", **params.titles},
        )
        metrics = read_metrics(dict(zip(params.models, inputs.metrics, strict=True)), params.titles)
        comparisons = read_json(inputs.comparisons)
        figure3 = pd.read_csv(inputs.figure3, keep_default_na=False)
        bars = accuracy_table(metrics, comparisons, figure3, design)
        tables = {name: panels_table(dynamics if name == "ablations" else shown, name) for name in params.panels}
        drawings = {
            "accuracy": (bars, partial(draw_accuracy, bars)),
            "dynamics": (curve, partial(draw_curve, curve, params.title)),
            **{name: (table, partial(draw_panels, table, name)) for name, table in tables.items()},
        }
        for name, (table, draw) in drawings.items():
            write_text(output[f"{name}_csv"], table.to_csv(index=False))
            save(draw(width=PAGE), Path(output[name]))
            save(draw(width=COLUMN), Path(output[f"{name}_column"]))
