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
        ask(
            candidates(snakemake.input.models),
            asked,
            Path(snakemake.output.answers).parent,
            load(snakemake.config).machine,
            prompt_max_tokens=params.prompt_max_tokens,
            state=Path(params.state),
            stage=params.stage,
            say=say,
        )
