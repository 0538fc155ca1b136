"""Prompts (paper, section 3.2).

REQUIRED INPUTS: data/train.parquet, data/benchmarks/{benchmark}.parquet, the templates in prompts/
OUTPUTS:
    sft, rlvr               = prompts/{sft,rlvr}.jsonl: what the trainers read
    benchmarks, development = prompts/{benchmarks,development}.parquet: what models are asked, in every mode
"""


rule render_prompts:
    """Questions become text here and nowhere else."""
    input:
        train=f"{RESULTS}/data/train.parquet",
        benchmarks=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        development=f"{RESULTS}/data/benchmarks/development.parquet",
        question=EXPERIMENT.prompts.question,
        direct=EXPERIMENT.prompts.direct,
        chain_of_thought=EXPERIMENT.prompts.chain_of_thought,
    output:
        sft=f"{RESULTS}/prompts/sft.jsonl",
        rlvr=f"{RESULTS}/prompts/rlvr.jsonl",
        benchmarks=f"{RESULTS}/prompts/benchmarks.parquet",
        development=f"{RESULTS}/prompts/development.parquet",
    log:
        f"{RESULTS}/logs/prompts/render_prompts.log",
    benchmark:
        f"{RESULTS}/benchmarks/prompts/render_prompts.tsv"
    params:
        benchmarks=BENCHMARKS,
    conda:
        "../../envs/conda.yaml"
    message:
        "Render the prompts"
    script:
        "../scripts/render_prompts.py"
