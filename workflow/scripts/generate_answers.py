"""Generate the answers of one model to every benchmark, in each of its modes."""

import pandas as pd

from medrlvr.config import Machine
from medrlvr.evaluation.generate import generate_answers
from medrlvr.files import write_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake.log[0]) as say:
        prompts = {mode: pd.read_parquet(snakemake.input[mode]) for mode in snakemake.params.modes}
        questions = sum(map(len, prompts.values()))
        say(f"{snakemake.wildcards.model}: {questions} prompts in {len(prompts)} mode(s)")
        answers = generate_answers(
            snakemake.input.model,
            prompts,
            snakemake.params.max_tokens,
            snakemake.params.prompt_max_tokens,
            snakemake.params.seed,
            Machine.model_validate(snakemake.params.machine),
        )
        write_parquet(snakemake.output[0], answers)
