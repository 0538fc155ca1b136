"""Put the base model into the results, from wherever it comes."""

from medrlvr.config import BaseModelSource, load
from medrlvr.files import write_json
from medrlvr.job import job
from medrlvr.models import fetch_model

if __name__ == "__main__":
    with job(snakemake) as say:
        context_tokens = load(snakemake.config).base.context_tokens
        source = BaseModelSource.model_validate({**snakemake.params.base, "context_tokens": context_tokens})
        origin = fetch_model(source, snakemake.output.model, snakemake.params.cache, say)
        write_json(snakemake.output.origin, {"name": source.name.partition("@")[0], "origin": origin})
        say(f"base model: {origin}")
