"""Let models answer prompts, and keep what was asked and the command that asked it."""

from pathlib import Path

from medrlvr.config import load
from medrlvr.evaluation.generate import ask
from medrlvr.evaluation.select import candidates
from medrlvr.files import read_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake) as say:
        params = snakemake.params
        prompts = read_parquet(snakemake.input.prompts)
        asked = prompts[prompts["mode"].isin(params.modes)]
        ask(
            candidates(snakemake.input.models),
            asked.assign(max_tokens=asked["mode"].map(params.max_tokens)),
            Path(snakemake.output.answers).parent,
            load(snakemake.config).machine,
            prompt_max_tokens=params.prompt_max_tokens,
            state=Path(params.state),
            stage=params.stage,
            say=say,
        )
