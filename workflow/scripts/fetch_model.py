"""Put the base model into the results folder, from any source."""

from medrlvr.config.data import BaseModelSource
from medrlvr.config.load import load_config
from medrlvr.models.fetch import fetch_model
from medrlvr.models.folder import pretraining_record
from medrlvr.runtime.files import write_json
from medrlvr.runtime.redact import redact
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        context_tokens = load_config(snakemake.config).base.context_tokens
        source = BaseModelSource.model_validate({**snakemake.params.base, "context_tokens": context_tokens})
        origin = fetch_model(source, snakemake.output.model, snakemake.params.cache, notify)
        record = {"name": redact(source.name.partition("@")[0]), "origin": redact(origin)}
        if source.source == "embedded":
            record["pretraining"] = pretraining_record(snakemake.output.model)
        write_json(snakemake.output.origin, record)
        notify(f"base model: {origin}")
