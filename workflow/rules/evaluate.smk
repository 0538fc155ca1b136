"""Evaluation (paper, section 4.1).

REQUIRED INPUTS: models/{model}/, prompts/{mode}.parquet, data/benchmarks/{benchmark}.parquet
OUTPUTS:
    answers         = eval/{model}/answers.parquet: raw text, written once
    scores, metrics = eval/{model}/scores.parquet, metrics.json
    comparisons     = compare/comparisons.json
"""

MAX_TOKENS = {
    "direct": EXPERIMENT.evaluation.direct_max_tokens,
    "chain_of_thought": EXPERIMENT.evaluation.chain_of_thought_max_tokens,
}


rule generate_answers:
    """The only step of evaluation that needs the model: a change of the grader costs no second generation."""
    input:
        model=f"{RESULTS}/models/{{model}}",
        direct=f"{RESULTS}/prompts/direct.parquet",
        chain_of_thought=f"{RESULTS}/prompts/chain_of_thought.parquet",
    output:
        f"{RESULTS}/eval/{{model}}/answers.parquet",
    log:
        f"{RESULTS}/logs/eval/{{model}}/generate_answers.log",
    benchmark:
        f"{RESULTS}/benchmarks/eval/{{model}}/generate_answers.tsv"
    threads: workflow.cores
    params:
        modes=lambda wildcards: EXPERIMENT.modes(wildcards.model),
        max_tokens=MAX_TOKENS,
        prompt_max_tokens=EXPERIMENT.evaluation.prompt_max_tokens,
        seed=EXPERIMENT.evaluation.seed,
        device=EXPERIMENT.machine.device,
        state=f"{RESULTS}/state",
    message:
        "Ask {wildcards.model} every benchmark question"
    script:
        "../scripts/generate_answers.py"


rule score_answers:
    """Grade and count, by the grader that also gives the reward."""
    input:
        answers=f"{RESULTS}/eval/{{model}}/answers.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        grader="src/medrlvr/grading.py",
    output:
        scores=f"{RESULTS}/eval/{{model}}/scores.parquet",
        metrics=f"{RESULTS}/eval/{{model}}/metrics.json",
    log:
        f"{RESULTS}/logs/eval/{{model}}/score_answers.log",
    benchmark:
        f"{RESULTS}/benchmarks/eval/{{model}}/score_answers.tsv"
    params:
        resamples=EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
    message:
        "Score {wildcards.model}"
    script:
        "../scripts/score_answers.py"


rule compare_models:
    """Models on the same questions, in pairs."""
    input:
        scores=expand(f"{RESULTS}/eval/{{model}}/scores.parquet", model=MODELS),
    output:
        f"{RESULTS}/compare/comparisons.json",
    log:
        f"{RESULTS}/logs/compare/compare_models.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare/compare_models.tsv"
    params:
        models=MODELS,
        resamples=EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
    message:
        "Compare the models"
    script:
        "../scripts/compare_models.py"
