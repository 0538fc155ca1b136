"""Grade the answers of one model and sum them up."""

import pandas as pd

from medrlvr.evaluation.score import score_answers, summarise
from medrlvr.files import read_parquet, write_json, write_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake):
        questions = pd.concat([read_parquet(path) for path in snakemake.input.questions])
        scores = score_answers(read_parquet(snakemake.input.answers), questions)
        write_parquet(snakemake.output.scores, scores)
        metrics = summarise(
            scores, read_parquet(snakemake.input.clusters), snakemake.params.resamples, snakemake.params.seed
        )
        write_json(snakemake.output.metrics, metrics)
