"""Compare every model with every other on the same questions."""

from medrlvr.evaluation.compare import compare_models
from medrlvr.files import read_parquet, write_json
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake):
        scores = {
            model: read_parquet(path)
            for model, path in zip(snakemake.params.models, snakemake.input.scores, strict=True)
        }
        write_json(snakemake.output[0], compare_models(scores, snakemake.params.resamples, snakemake.params.seed))
