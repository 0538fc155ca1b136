"""Generate the answers of models, and save the requests and the command."""

from pathlib import Path

import pandas as pd

from medrlvr.config.evaluation import Mode
from medrlvr.config.load import load_config
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.requests import build_requests
from medrlvr.evaluation.selection import candidate_models
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        params = snakemake.params
        settings = {name: Mode(**mode) for name, mode in params.settings.items()}
        paths = [snakemake.input.prompts] if isinstance(snakemake.input.prompts, str) else snakemake.input.prompts
        prompts = pd.concat([read_parquet(path) for path in paths], ignore_index=True)
        asked = build_requests(prompts, params.sets, settings, params.seed)
        models, answers = candidate_models(snakemake.input.models), snakemake.output.answers
        # If there are several tables, each has the answers of one model.
        tables = {answers: models} if isinstance(answers, str) else dict(zip(answers, zip(models), strict=True))
        for table, evaluated in tables.items():
            generate_answers(
                evaluated,
                asked,
                Path(table).parent,
                load_config(snakemake.config).machine,
                prompt_max_tokens=params.prompt_max_tokens,
                state=Path(params.state),
                display_name=params.display_name,
                notify=notify,
                also=[model for model in models if model not in evaluated],
            )
