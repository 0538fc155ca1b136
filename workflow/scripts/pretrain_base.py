"""Train the miniature's base model."""

from pathlib import Path

from medrlvr.data.miniature.base_model import pretrain_base
from medrlvr.data.prompts import Renderer
from medrlvr.models.folder import pretraining_record
from medrlvr.runtime.files import write_json
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        templates = ("question", "direct", "chain_of_thought")
        renderer = Renderer(**{name: snakemake.input[name] for name in templates})
        output, params = Path(snakemake.output.model), snakemake.params
        pretrain_base(output, renderer, params.direct_answers, params.steps, params.seed, snakemake.threads, notify)
        origin = f"rebuilt with seed {params.seed} and {params.direct_answers} direct answers"
        record = {"name": "miniature", "origin": origin, "pretraining": pretraining_record(output)}
        write_json(snakemake.output.origin, record)
