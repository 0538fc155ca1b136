"""Render the prompts of every benchmark and control, and of the development questions."""

from medrlvr.data.kind_prompts import KindRenderer, layouts_among
from medrlvr.evaluation.requests import render_requests
from medrlvr.runtime.files import read_parquet, write_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, params = snakemake.input, snakemake.params
        renderer = KindRenderer(layouts_among(inputs), **dict(zip(params.modes, inputs.modes, strict=True)))
        benchmarks = {name: read_parquet(path) for name, path in zip(params.benchmarks, inputs.benchmarks, strict=True)}
        write_parquet(snakemake.output.benchmarks, render_requests(renderer, benchmarks))
        write_parquet(
            snakemake.output.development, render_requests(renderer, {"development": read_parquet(inputs.development)})
        )
