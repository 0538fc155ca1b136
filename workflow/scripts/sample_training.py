"""Sample the base on the training questions."""

from pathlib import Path

from medrlvr.config.evaluation import Mode
from medrlvr.config.load import load_config
from medrlvr.data.kind_prompts import KindRenderer, layouts_among
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.requests import build_requests, render_requests
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, params = snakemake.input, snakemake.params
        renderer = KindRenderer(layouts_among(inputs), chain_of_thought=inputs.template)
        prompts = render_requests(renderer, {"train": read_parquet(inputs.train).head(params.number)})
        settings = {"chain_of_thought": Mode(**params.mode)}
        generate_answers(
            [Path(inputs.models)],
            build_requests(prompts, {"train": [*settings]}, settings, params.seed),
            Path(snakemake.output.answers).parent,
            load_config(snakemake.config).machine,
            prompt_max_tokens=params.prompt_max_tokens,
            state=Path(params.state),
            display_name=params.display_name,
            notify=notify,
        )
