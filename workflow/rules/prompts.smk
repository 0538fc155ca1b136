"""Prompts (paper, section 3.2).

REQUIRED INPUTS: data/train.parquet, data/benchmarks/{benchmark}.parquet, the templates in prompts/
OUTPUTS:
    sft, rlvr               = prompts/{sft,rlvr}.jsonl: what the trainers read
    benchmarks, development = prompts/{benchmarks,development}.parquet: what models are asked, in every mode
"""


rule render_training_prompts:
    """Training questions become text. Another rule than that of the tests: a new mode trains nothing again."""
    input:
        train=f"{RESULTS}/data/train.parquet",
        question=EXPERIMENT.prompts.question,
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
        "Render the prompts of training"
    script:
        "../scripts/render_training_prompts.py"


rule render_eval_prompts:
    """Development questions, benchmarks and their controls become text, in every mode."""
    input:
        benchmarks=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=EVAL_SETS),
        development=f"{RESULTS}/data/benchmarks/development.parquet",
        question=EXPERIMENT.prompts.question,
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
        "Render the prompts of the tests"
    script:
        "../scripts/render_eval_prompts.py"
