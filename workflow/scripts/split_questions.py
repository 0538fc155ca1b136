"""Settle what is trained on and what is asked: contaminated training questions out, then the draws."""

from medrlvr.data.contamination import remove_known
from medrlvr.data.questions import QUESTION_SCHEMA, sample, write_table
from medrlvr.files import read_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake) as say:
        train = read_parquet(snakemake.input.train)
        clean = remove_known(train, read_parquet(snakemake.input.contamination))
        held_out = dict(zip(snakemake.params.names, snakemake.input.held_out, strict=True))
        tables = {"train": clean} | {name: read_parquet(path) for name, path in held_out.items()}
        for name, table in tables.items():
            drawn = sample(table, snakemake.params.rows[name], snakemake.params.seed)
            write_table(snakemake.output[name], drawn, QUESTION_SCHEMA)
        if len(clean) < len(train):
            say(f"{len(train) - len(clean)} of {len(train)} training questions removed: known from a held-out set")
