"""Read the options' probabilities after changed think blocks."""

from collections import Counter
from pathlib import Path

import pandas as pd

from medrlvr.config.controls import PROBE_TOKENS
from medrlvr.config.load import load_config
from medrlvr.data.miniature.interventions import replace_finding
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.selection import candidate_models
from medrlvr.evaluation.sensitivity.probes import build_probes, measured_systems, sampled_blocks
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, params = snakemake.input, snakemake.params
        tables = zip(params.benchmarks, inputs.questions, strict=True)
        questions = pd.concat([read_parquet(path).assign(benchmark=name) for name, path in tables], ignore_index=True)
        prompts = read_parquet(inputs.prompts, columns=["benchmark", "question_id", "prompt", "template"])
        models, sizes = candidate_models(inputs.models), Counter(questions["benchmark"])
        systems = measured_systems([*map(str, models)], sizes, params.questions, params.curve)
        blocks = sampled_blocks(read_parquet(inputs.responses), prompts, questions, systems, params.seed)
        generate_answers(
            models,
            build_probes(blocks, params.seed, replace_finding if params.evidence == "miniature" else None),
            Path(snakemake.output.answers).parent,
            load_config(snakemake.config).machine,
            prompt_max_tokens=params.prompt_max_tokens + params.response_max_tokens + PROBE_TOKENS,
            state=Path(params.state),
            display_name=params.display_name,
            notify=notify,
        )
