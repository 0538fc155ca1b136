"""Plant a cue in the questions of the synthetic world."""

from pathlib import Path

from medrlvr.data.miniature.loopholes import plant
from medrlvr.data.readers import read_rows
from medrlvr.runtime.files import write_json_lines
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        rows = [dict(row) for _, row in read_rows(Path(snakemake.input[0]), ("question", "options", "answer_idx"))]
        loophole, split = snakemake.wildcards
        write_json_lines(snakemake.output[0], plant(rows, loophole, split, snakemake.params.seed))
