"""Draw the steps of RLVR's gain, and write the table that they were drawn from next to the figure."""

from pathlib import Path

import pandas as pd

from medrlvr.report.figures.style import COLUMN, PAGE, save
from medrlvr.report.figures.waterfall import draw_waterfall
from medrlvr.runtime.files import read_json, write_text
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        record = read_json(Path(snakemake.input[0]))
        table = pd.DataFrame(record["steps"]).drop(columns="arms")
        write_text(snakemake.output.table, table.to_csv(index=False))
        for width, file in ((PAGE, snakemake.output.figure), (COLUMN, snakemake.output.column)):
            save(draw_waterfall(table, pd.DataFrame(record["arms"]), snakemake.params.titles, width), Path(file))
