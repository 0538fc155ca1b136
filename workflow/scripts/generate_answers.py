"""Generate the answers of one model to every benchmark, in each of its modes."""

import os
from pathlib import Path

from medrlvr.config import load
from medrlvr.evaluation.generate import generate_answers
from medrlvr.files import read_parquet, write_parquet
from medrlvr.job import job
from medrlvr.training.environment import variables
from medrlvr.training.preparation import check_lengths

if __name__ == "__main__":
    with job(snakemake.log[0]) as say:
        machine = load(snakemake.config, "the configuration").machine
        # Before vllm is imported, which reads them once.
        os.environ.update(variables(machine, cache=Path(snakemake.params.state)))
        prompts = {mode: read_parquet(snakemake.input[mode]) for mode in snakemake.params.modes}
        for mode, table in prompts.items():
            limit, source = snakemake.params.prompt_max_tokens, Path(snakemake.input[mode])
            check_lengths(Path(snakemake.input.model), table["prompt"], limit, "prompt_max_tokens", source)
        questions = sum(map(len, prompts.values()))
        say(f"{snakemake.wildcards.model}: {questions} prompts in {len(prompts)} mode(s)")
        answers = generate_answers(
            snakemake.input.model,
            prompts,
            snakemake.params.max_tokens,
            snakemake.params.prompt_max_tokens,
            snakemake.params.seed,
            machine,
        )
        write_parquet(snakemake.output[0], answers)
