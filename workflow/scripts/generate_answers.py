"""Let models answer prompts, and keep what was asked and the command that asked it."""

from pathlib import Path

from medrlvr.config import Mode, load
from medrlvr.evaluation.generate import ask, select
from medrlvr.evaluation.select import candidates
from medrlvr.files import read_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake) as say:
        params = snakemake.params
        settings = {name: Mode(**mode) for name, mode in params.settings.items()}
        asked = select(read_parquet(snakemake.input.prompts), params.modes, settings, params.controls, params.seed)
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
