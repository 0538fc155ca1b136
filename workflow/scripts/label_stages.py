"""Say of every sampled response which stage it shows."""

from pathlib import Path

from medrlvr.dynamics.table import label_responses
from medrlvr.files import read_parquet, write_parquet
from medrlvr.job import job
from medrlvr.models import token_counts

if __name__ == "__main__":
    with job(snakemake):
        rollouts = read_parquet(snakemake.input.rollouts)
        gold = read_parquet(snakemake.input.train).set_index("question_id")["gold"]
        tokens = token_counts(Path(snakemake.input.base), rollouts["response"].tolist())
        write_parquet(snakemake.output[0], label_responses(rollouts, gold, tokens))
