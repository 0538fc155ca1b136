"""Evaluation (paper, section 4.1).

REQUIRED INPUTS: models/{model}/, checkpoints/, prompts/, data/benchmarks/{benchmark}.parquet
OUTPUTS:
    development     = development/{arm}/seed{seed}/answers.parquet: of the candidates, to choose among them
    answers         = eval/{model}/answers.parquet: raw text, written once
    scores, metrics = eval/{model}/scores.parquet, metrics.json
    comparisons     = compare/comparisons.json
Beside each answers.parquet lie asked.parquet, what was asked, and command.sh, which asks it again by hand.
"""

ASKING = {
    "max_tokens": {
        "direct": EXPERIMENT.evaluation.direct_max_tokens,
        "chain_of_thought": EXPERIMENT.evaluation.chain_of_thought_max_tokens,
    },
    "prompt_max_tokens": EXPERIMENT.evaluation.prompt_max_tokens,
    # The rest of the machine is no part of a result and is read by the script.
    "device": EXPERIMENT.machine.device,
    "state": f"{RESULTS}/state",
}


rule generate_answers:
    """The only step that needs the model; weights that were asked the same before are not asked again."""
    input:
        models=[f"{RESULTS}/models/{{model}}"],
        prompts=f"{RESULTS}/prompts/benchmarks.parquet",
    output:
        answers=f"{RESULTS}/eval/{{model}}/answers.parquet",
        asked=f"{RESULTS}/eval/{{model}}/asked.parquet",
        command=f"{RESULTS}/eval/{{model}}/command.sh",
    log:
        f"{RESULTS}/logs/eval/{{model}}/generate_answers.log",
    benchmark:
        f"{RESULTS}/benchmarks/eval/{{model}}/generate_answers.tsv"
    threads: CORES
    resources:
        gpu=ASKING_GPUS,
    params:
        **ASKING,
        modes=lambda wildcards: EXPERIMENT.modes(wildcards.model),
        stage="{model}",
    conda:
        "../../envs/conda.yaml"
    message:
        "Ask {wildcards.model} every benchmark question"
    script:
        "../scripts/generate_answers.py"


use rule generate_answers as generate_development with:
    # All candidates of a run, from one engine.
    input:
        models=candidates,
        prompts=f"{RESULTS}/prompts/development.parquet",
    output:
        answers=f"{RESULTS}/development/{{arm}}/seed{{seed}}/answers.parquet",
        asked=f"{RESULTS}/development/{{arm}}/seed{{seed}}/asked.parquet",
        command=f"{RESULTS}/development/{{arm}}/seed{{seed}}/command.sh",
    log:
        f"{RESULTS}/logs/development/{{arm}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/development/{{arm}}/seed{{seed}}.tsv"
    params:
        **ASKING,
        modes=lambda wildcards: ARMS[wildcards.arm].modes[:1],
        stage="{arm}, seed {seed}, development",
    message:
        "Ask the candidates of {wildcards.arm}, seed {wildcards.seed}, the development questions"


rule score_answers:
    """Grade and count, by the grader that also gives the reward."""
    input:
        answers=f"{RESULTS}/eval/{{model}}/answers.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        clusters=f"{RESULTS}/data/clusters.parquet",
    output:
        scores=f"{RESULTS}/eval/{{model}}/scores.parquet",
        metrics=f"{RESULTS}/eval/{{model}}/metrics.json",
    log:
        f"{RESULTS}/logs/eval/{{model}}/score_answers.log",
    benchmark:
        f"{RESULTS}/benchmarks/eval/{{model}}/score_answers.tsv"
    params:
        grader=GRADER,
        resamples=EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
    conda:
        "../../envs/conda.yaml"
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
    conda:
        "../../envs/conda.yaml"
    message:
        "Compare the models"
    script:
        "../scripts/compare_models.py"
