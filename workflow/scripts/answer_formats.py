"""Generate answers in other formats, and the base's continuations of questions."""

from pathlib import Path

import pandas as pd

from medrlvr.config.load import load_config
from medrlvr.evaluation.formats import format_requests, memory_requests
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.requests import draw_questions
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, params = snakemake.input, snakemake.params
        models = [Path(model) for model in inputs.models]
        tables = zip(params.benchmarks, inputs.questions, strict=True)
        questions = pd.concat([read_parquet(path).assign(benchmark=name) for name, path in tables], ignore_index=True)
        drawn = draw_questions(questions, params.drawn, params.seed)
        templates = dict(zip(params.formats, inputs.templates, strict=True))
        formats = format_requests(drawn, inputs.layout, templates, [*map(str, models)], params.max_tokens)
        generate_answers(
            models,
            pd.concat([formats, memory_requests(drawn, inputs.layout, models[0])], ignore_index=True),
            Path(snakemake.output.answers).parent,
            load_config(snakemake.config).machine,
            prompt_max_tokens=params.prompt_max_tokens,
            state=Path(params.state),
            display_name=params.display_name,
            notify=notify,
        )
