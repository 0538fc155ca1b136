"""Draw the sensitivity to the chain of thought, and write the table that it was drawn from next to it."""

from pathlib import Path

import pandas as pd

from medrlvr.report.figures.curve import bands_of
from medrlvr.report.figures.sensitivity import draw_sensitivity
from medrlvr.report.figures.style import save
from medrlvr.runtime.files import write_text
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        seeds = [int(run.rpartition("seed")[2]) for run in params.runs]
        table = pd.concat(
            [pd.read_csv(path).assign(seed=seed) for seed, path in zip(seeds, inputs.tables, strict=True)],
            ignore_index=True,
        )
        bands = bands_of(dict(zip(seeds, inputs.stages, strict=True)))
        write_text(output.table, table.to_csv(index=False))
        save(draw_sensitivity(table, bands, params.titles), Path(output.figure))
