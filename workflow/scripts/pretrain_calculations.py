"""Train the base model of calculations."""

from pathlib import Path

from medrlvr.data.calculations.base_model import pretrain_base
from medrlvr.data.kind_prompts import KindRenderer
from medrlvr.grading.kinds import Kind
from medrlvr.models.folder import pretraining_record
from medrlvr.runtime.files import write_json
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, output, params = snakemake.input, Path(snakemake.output.model), snakemake.params
        layouts: dict[Kind, str] = {"letter": inputs.question, "number": inputs.question_number}
        renderer = KindRenderer(layouts, direct=inputs.direct, chain_of_thought=inputs.chain_of_thought)
        pretrain_base(output, renderer, params.steps, params.seed, snakemake.threads, notify)
        origin = f"rebuilt with seed {params.seed}"
        record = {"name": "calculations", "origin": origin, "pretraining": pretraining_record(output)}
        write_json(snakemake.output.origin, record)
