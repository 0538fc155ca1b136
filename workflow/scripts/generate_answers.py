"""Let models answer prompts, and keep what was asked and the command that asked it."""

from pathlib import Path

import pandas as pd

from medrlvr.config import Mode, load
from medrlvr.evaluation.generate import ask, select
from medrlvr.evaluation.select import candidates
from medrlvr.files import read_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake) as say:
        params = snakemake.params
        settings = {name: Mode(**mode) for name, mode in params.settings.items()}
        paths = [snakemake.input.prompts] if isinstance(snakemake.input.prompts, str) else snakemake.input.prompts
        prompts = pd.concat([read_parquet(path) for path in paths], ignore_index=True)
        asked = select(prompts, params.sets, settings, params.seed)
        models, answers = candidates(snakemake.input.models), snakemake.output.answers
        # Several tables have a model each.
        tables = {answers: models} if isinstance(answers, str) else dict(zip(answers, zip(models), strict=True))
        for table, evaluated in tables.items():
            ask(
                evaluated,
                asked,
                Path(table).parent,
                load(snakemake.config).machine,
                prompt_max_tokens=params.prompt_max_tokens,
                state=Path(params.state),
                stage=params.stage,
                say=say,
                also=[model for model in models if model not in evaluated],
            )
