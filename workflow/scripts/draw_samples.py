"""Draw pass@k and maj@k, and write the table that they were drawn from next to the figure."""

from pathlib import Path

import pandas as pd

from medrlvr.report.figures.repeated import draw_repeated
from medrlvr.report.figures.style import save
from medrlvr.runtime.files import write_text
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        table = pd.read_csv(snakemake.input[0])
        write_text(snakemake.output.table, table.to_csv(index=False))
        save(draw_repeated(table, snakemake.params.titles), Path(snakemake.output.figure))
