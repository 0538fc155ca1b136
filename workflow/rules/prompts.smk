"""Prompts (paper, section 3.2).

REQUIRED INPUTS: data/train.parquet, data/benchmarks/{benchmark}.parquet, the templates in prompts/
OUTPUTS:
    sft, rlvr               = prompts/{sft,rlvr}.jsonl: training rows
    benchmarks, development = prompts/{benchmarks,development}.parquet: evaluation prompts, in every mode
"""


rule render_training_prompts:
    """Render the training questions. This is a rule of its own, so that a new evaluation mode triggers no training."""
    input:
        **LAYOUTS,
        train=f"{RESULTS}/data/train.parquet",
        direct=EXPERIMENT.prompts.direct,
        chain_of_thought=EXPERIMENT.prompts.chain_of_thought,
    output:
        sft=f"{RESULTS}/prompts/sft.jsonl",
        rlvr=f"{RESULTS}/prompts/rlvr.jsonl",
    log:
        log_of("prompts/render_training_prompts"),
    benchmark:
        benchmark_of("prompts/render_training_prompts")
    message:
        "Render the training prompts"
    script:
        "../scripts/render_training_prompts.py"


rule render_eval_prompts:
    """Render the development questions, the benchmarks and their controls, in every mode."""
    input:
        **LAYOUTS,
        benchmarks=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=EVAL_SETS),
        development=f"{RESULTS}/data/benchmarks/development.parquet",
        modes=list(TEMPLATES.values()),
    output:
        benchmarks=f"{RESULTS}/prompts/benchmarks.parquet",
        development=f"{RESULTS}/prompts/development.parquet",
    log:
        log_of("prompts/render_eval_prompts"),
    benchmark:
        benchmark_of("prompts/render_eval_prompts")
    params:
        benchmarks=list(EVAL_SETS),
        modes=list(TEMPLATES),
    message:
        "Render the evaluation prompts"
    script:
        "../scripts/render_eval_prompts.py"
