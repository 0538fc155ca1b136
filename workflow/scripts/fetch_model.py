"""Put the base model into the results, from wherever it comes."""

from medrlvr.config import BaseModelSource, load
from medrlvr.job import job
from medrlvr.models import fetch_model

if __name__ == "__main__":
    with job(snakemake.log[0]) as say:
        context_tokens = load(snakemake.config).base.context_tokens
        source = BaseModelSource.model_validate({**snakemake.params.base, "context_tokens": context_tokens})
        say(f"base model: {fetch_model(source, snakemake.output[0], snakemake.params.cache)}")
