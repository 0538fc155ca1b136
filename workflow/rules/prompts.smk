"""Prompts (paper, section 3.2).

REQUIRED INPUTS: data/train.parquet, data/benchmarks/{benchmark}.parquet, the templates in prompts/
OUTPUTS:
    sft, rlvr                   = prompts/{sft,rlvr}.jsonl: what the trainers read
    direct, chain_of_thought    = prompts/{mode}.parquet: the prompts of every benchmark
"""


rule render_prompts:
    """Questions become text here and nowhere else."""
    input:
        train=f"{RESULTS}/data/train.parquet",
        benchmarks=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        question=EXPERIMENT.prompts.question,
        direct=EXPERIMENT.prompts.direct,
        chain_of_thought=EXPERIMENT.prompts.chain_of_thought,
    output:
        sft=f"{RESULTS}/prompts/sft.jsonl",
        rlvr=f"{RESULTS}/prompts/rlvr.jsonl",
        direct=f"{RESULTS}/prompts/direct.parquet",
        chain_of_thought=f"{RESULTS}/prompts/chain_of_thought.parquet",
    log:
        f"{RESULTS}/logs/prompts/render_prompts.log",
    benchmark:
        f"{RESULTS}/benchmarks/prompts/render_prompts.tsv"
    params:
        benchmarks=BENCHMARKS,
    message:
        "Render the prompts"
    script:
        "../scripts/render_prompts.py"
