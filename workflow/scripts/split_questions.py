"""Settle what is trained on and what is asked: contaminated training questions out, then the draws."""

from medrlvr.data.duplicates import remove_known
from medrlvr.data.questions import QUESTION_SCHEMA, sample, write_table
from medrlvr.files import read_parquet, write_json
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake):
        rows, seed = snakemake.params.rows, snakemake.params.seed
        train = read_parquet(snakemake.input.train)
        rejected = read_parquet(snakemake.input.rejected)
        pairs = read_parquet(snakemake.input.duplicates)
        clean = remove_known(train, pairs)
        held_out = dict(zip(snakemake.params.names, snakemake.input.held_out, strict=True))
        tables = {"train": clean} | {name: read_parquet(path) for name, path in held_out.items()}
        drawn = {name: sample(table, rows[name], seed) for name, table in tables.items()}
        for name, table in drawn.items():
            write_table(snakemake.output[name], table, QUESTION_SCHEMA)
        counts = {name: len(table) for name, table in drawn.items()} | {
            "train, rejected": len(rejected),
            "train, found in a held-out set": len(train) - len(clean),
            "duplicate pairs, exact": int((pairs["kind"] == "exact").sum()),
            "duplicate pairs, near": int((pairs["kind"] == "near").sum()),
        }
        write_json(snakemake.output.counts, counts)
