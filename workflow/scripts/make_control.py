"""Make a control: a benchmark's questions with other options."""

from medrlvr.data.controls import vary
from medrlvr.data.questions import question_schema, write_table
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        varied = vary(read_parquet(snakemake.input[0]), snakemake.wildcards.control, snakemake.params.seed)
        write_table(snakemake.output[0], varied, question_schema(varied))
