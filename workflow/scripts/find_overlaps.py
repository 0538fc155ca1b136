"""Find runs of characters and of words that training questions share with held-out ones."""

import pandas as pd

from medrlvr.data.contamination import RUN_SCHEMA, find_overlaps
from medrlvr.data.questions import write_table
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        questions = pd.concat([read_parquet(path) for path in snakemake.input.questions], ignore_index=True)
        params = snakemake.params
        runs = find_overlaps(questions, params.train, params.char_overlap, params.word_overlap)
        write_table(snakemake.output[0], runs, RUN_SCHEMA)
