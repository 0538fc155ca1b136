"""Train the miniature's base model."""

from pathlib import Path

from medrlvr.job import job
from medrlvr.miniature.base import pretrain
from medrlvr.prompts import Renderer

if __name__ == "__main__":
    with job(snakemake.log[0]) as say:
        templates = ("question", "direct", "chain_of_thought")
        renderer = Renderer(**{name: snakemake.input[name] for name in templates})
        output, params = Path(snakemake.output[0]), snakemake.params
        pretrain(output, renderer, params.steps, params.seed, snakemake.threads, say)
