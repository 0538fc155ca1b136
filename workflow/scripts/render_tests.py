"""Render the prompts of every benchmark and control, and of the development questions."""

from medrlvr.files import read_parquet, write_parquet
from medrlvr.job import job
from medrlvr.prompts import Renderer

if __name__ == "__main__":
    with job(snakemake):
        inputs, params = snakemake.input, snakemake.params
        renderer = Renderer(inputs.question, **dict(zip(params.modes, inputs.modes, strict=True)))
        benchmarks = {name: read_parquet(path) for name, path in zip(params.benchmarks, inputs.benchmarks, strict=True)}
        write_parquet(snakemake.output.benchmarks, renderer.asked(benchmarks))
        write_parquet(snakemake.output.development, renderer.asked({"development": read_parquet(inputs.development)}))
