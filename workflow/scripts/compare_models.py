"""Compare every model with every other on the same questions."""

import pandas as pd

from medrlvr.evaluation.compare import compare_models
from medrlvr.files import write_json
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake.log[0]):
        scores = {
            model: pd.read_parquet(path)
            for model, path in zip(snakemake.params.models, snakemake.input.scores, strict=True)
        }
        write_json(snakemake.output[0], compare_models(scores, snakemake.params.resamples, snakemake.params.seed))
