"""Train the miniature's base model."""

from pathlib import Path

from medrlvr.files import write_json
from medrlvr.job import job
from medrlvr.miniature.base import pretrain
from medrlvr.prompts import Renderer

if __name__ == "__main__":
    with job(snakemake) as say:
        templates = ("question", "direct", "chain_of_thought")
        renderer = Renderer(**{name: snakemake.input[name] for name in templates})
        output, params = Path(snakemake.output.model), snakemake.params
        pretrain(output, renderer, params.steps, params.seed, snakemake.threads, say)
        write_json(snakemake.output.origin, {"name": "miniature", "origin": f"rebuilt with seed {params.seed}"})
