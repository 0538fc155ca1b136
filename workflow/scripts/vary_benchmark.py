"""Ask a benchmark's questions with other options."""

from medrlvr.data.controls import vary
from medrlvr.data.questions import QUESTION_SCHEMA, write_table
from medrlvr.files import read_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake):
        varied = vary(read_parquet(snakemake.input[0]), snakemake.wildcards.control, snakemake.params.seed)
        write_table(snakemake.output[0], varied, QUESTION_SCHEMA)
