"""Evaluation (paper, section 4.1).

REQUIRED INPUTS: models/{model}/, checkpoints/, prompts/, data/benchmarks/{benchmark}.parquet
OUTPUTS:
    development     = development/{arm}/seed{seed}/answers.parquet: the candidates' answers, for selection
    curve           = checkpoint_eval/{arm}/seed{seed}/answers.parquet, accuracy.parquet, grades.parquet: RLVR's candidates on all
                      held-out questions, after the selection
    answers         = eval/{model}/answers.parquet: raw text, written once
    scores, metrics = eval/{model}/scores.parquet, metrics.json
    comparisons     = compare/comparisons.json; metrics.csv: all metrics in one table
    verdict         = compare/claims.json: the paper's claims
Next to each answers.parquet are requests.parquet (the prompts), generation.json (engine and settings) and command.sh
(the command that generates the answers again).
"""

ASKING = {
    "prompt_max_tokens": EXPERIMENT.evaluation.prompt_max_tokens,
    "seed": EXPERIMENT.evaluation.seed,
    # The other machine settings do not affect a result; the script reads them.
    "device": EXPERIMENT.machine.device,
    "state": f"{RESULTS}/state",
}


rule generate_answers:
    """Generate a model's answers, the only evaluation step that needs the model. Cached answers are not repeated."""
    input:
        models=model_folder,
        prompts=f"{RESULTS}/prompts/benchmarks.parquet",
    output:
        answers=f"{RESULTS}/eval/{{model}}/answers.parquet",
        asked=f"{RESULTS}/eval/{{model}}/requests.parquet",
        command=f"{RESULTS}/eval/{{model}}/command.sh",
        generation=f"{RESULTS}/eval/{{model}}/generation.json",
    log:
        log_of("eval/{model}/generate_answers"),
    benchmark:
        benchmark_of("eval/{model}/generate_answers")
    wildcard_constraints:
        # generate_selected evaluates RLVR's models.
        model="|".join(
            model for model in MODELS if model.split("/")[0].removesuffix(DEV_SUFFIX) not in LAYOUT.rlvr_arms
        ),
    threads: MACHINE.engine_cores
    resources:
        gres=MACHINE.gres(MACHINE.engine_gpus),
    params:
        **ASKING,
        sets=lambda wildcards: EXPERIMENT.eval_sets_of(wildcards.model),
        settings=lambda wildcards: settings_of(EXPERIMENT.modes_of(wildcards.model)),
        display_name="{model}",
    message:
        "Evaluate {wildcards.model} on every benchmark question"
    script:
        "../scripts/generate_answers.py"


use rule generate_answers as generate_selected with:
    # The last checkpoint and the one selected on development are evaluated in the same way, with one engine start.
    input:
        models=[f"{RESULTS}/models/{{arm}}{kind}/seed{{seed}}" for kind in ("", DEV_SUFFIX)],
        prompts=f"{RESULTS}/prompts/benchmarks.parquet",
    output:
        answers=[f"{RESULTS}/eval/{{arm}}{kind}/seed{{seed}}/answers.parquet" for kind in ("", DEV_SUFFIX)],
        asked=[f"{RESULTS}/eval/{{arm}}{kind}/seed{{seed}}/requests.parquet" for kind in ("", DEV_SUFFIX)],
        command=[f"{RESULTS}/eval/{{arm}}{kind}/seed{{seed}}/command.sh" for kind in ("", DEV_SUFFIX)],
        generation=[f"{RESULTS}/eval/{{arm}}{kind}/seed{{seed}}/generation.json" for kind in ("", DEV_SUFFIX)],
    log:
        log_of("eval/{arm}/seed{seed}/generate_selected"),
    benchmark:
        benchmark_of("eval/{arm}/seed{seed}/generate_selected")
    wildcard_constraints:
        arm=RLVR_ARM,
    params:
        **ASKING,
        sets=lambda wildcards: EXPERIMENT.eval_sets_of(f"{wildcards.arm}/seed{wildcards.seed}"),
        settings=lambda wildcards: settings_of(EXPERIMENT.modes_of(f"{wildcards.arm}/seed{wildcards.seed}")),
        display_name="{arm}, seed {seed}, last and selected",
    message:
        "Evaluate the last and the selected model of {wildcards.arm}, seed {wildcards.seed}, on every benchmark question"


use rule generate_answers as generate_development with:
    input:
        models=candidates,
        prompts=f"{RESULTS}/prompts/development.parquet",
    output:
        answers=f"{RESULTS}/development/{{arm}}/seed{{seed}}/answers.parquet",
        asked=f"{RESULTS}/development/{{arm}}/seed{{seed}}/requests.parquet",
        command=f"{RESULTS}/development/{{arm}}/seed{{seed}}/command.sh",
        generation=f"{RESULTS}/development/{{arm}}/seed{{seed}}/generation.json",
    log:
        log_of("development/{arm}/seed{seed}"),
    benchmark:
        benchmark_of("development/{arm}/seed{seed}")
    params:
        **ASKING,
        sets=lambda wildcards: {"development": ARMS[wildcards.arm].modes[:1]},
        settings=lambda wildcards: settings_of(ARMS[wildcards.arm].modes[:1]),
        display_name="{arm}, seed {seed}, development",
    message:
        "Evaluate the candidates of {wildcards.arm}, seed {wildcards.seed}, on the development questions"
    # One engine evaluates all candidates of a run, before the next run trains: this frees disk for that run.
    priority: 3


use rule generate_development as generate_checkpoint_answers with:
    # It also evaluates on benchmarks, so it waits for the selection. The base is update 0 of the curve.
    input:
        models=[f"{RESULTS}/models/base", f"{RESULTS}/checkpoints/{{arm}}/seed{{seed}}"],
        prompts=[f"{RESULTS}/prompts/development.parquet", f"{RESULTS}/prompts/benchmarks.parquet"],
        selection=f"{RESULTS}/development/{{arm}}/seed{{seed}}/selection.json",
    output:
        answers=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/answers.parquet",
        asked=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/requests.parquet",
        command=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/command.sh",
        generation=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/generation.json",
    log:
        log_of("checkpoint_eval/{arm}/seed{seed}/generate_checkpoint_answers"),
    benchmark:
        benchmark_of("checkpoint_eval/{arm}/seed{seed}/generate_checkpoint_answers")
    wildcard_constraints:
        arm=RLVR_ARM,
    params:
        **ASKING,
        sets=lambda wildcards: dict.fromkeys(HELD_OUT, ARMS[wildcards.arm].modes[:1]),
        settings=lambda wildcards: settings_of(ARMS[wildcards.arm].modes[:1]),
        display_name="{arm}, seed {seed}, curve",
    message:
        "Evaluate the checkpoints of {wildcards.arm}, seed {wildcards.seed}, on all held-out questions"


rule score_checkpoints:
    """Compute accuracy and response length of each checkpoint (paper, Figure 2)."""
    input:
        answers=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/answers.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=HELD_OUT),
    output:
        accuracy=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/accuracy.parquet",
        grades=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/grades.parquet",
    log:
        log_of("checkpoint_eval/{arm}/seed{seed}/score_checkpoints"),
    benchmark:
        benchmark_of("checkpoint_eval/{arm}/seed{seed}/score_checkpoints")
    params:
        grader=GRADER,
        evidence=EXPERIMENT.evaluation.evidence,
        evidence_version=EVIDENCE,
        definitions=STAGES,
        computed=TABLES,
        benchmarks=list(HELD_OUT),
        answer_format=lambda wildcards: ANSWER_FORMATS[ARMS[wildcards.arm].modes[0]],
    message:
        "Score the checkpoints of {wildcards.arm}, seed {wildcards.seed}"
    script:
        "../scripts/score_checkpoints.py"


rule score_answers:
    """Grade the answers and compute metrics, with the grader that also determines the reward."""
    input:
        answers=f"{RESULTS}/eval/{{model}}/answers.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=EVAL_SETS),
        clusters=f"{RESULTS}/data/clusters.parquet",
        train=f"{RESULTS}/data/train.parquet",
        generation=f"{RESULTS}/eval/{{model}}/generation.json",
    output:
        scores=f"{RESULTS}/eval/{{model}}/scores.parquet",
        metrics=f"{RESULTS}/eval/{{model}}/metrics.json",
    log:
        log_of("eval/{model}/score_answers"),
    benchmark:
        benchmark_of("eval/{model}/score_answers")
    params:
        grader=GRADER,
        computed=METRICS,
        evidence=EXPERIMENT.evaluation.evidence,
        evidence_version=EVIDENCE,
        benchmarks=list(EVAL_SETS),
        forms=lambda wildcards: {mode: ANSWER_FORMATS[mode] for mode in EXPERIMENT.modes_of(wildcards.model)},
        again=again(f"{RESULTS}/eval/{{model}}/metrics.json"),
        resamples=EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
    message:
        "Score {wildcards.model}"
    script:
        "../scripts/score_answers.py"


rule compare_models:
    """Compare models on the same questions, and assess the paper's claims."""
    input:
        scores=expand(f"{RESULTS}/eval/{{model}}/scores.parquet", model=MODELS),
        metrics=expand(f"{RESULTS}/eval/{{model}}/metrics.json", model=MODELS),
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=EVAL_SETS),
        clusters=f"{RESULTS}/data/clusters.parquet",
        train=f"{RESULTS}/data/train.parquet",
        paper="assets/paper/figure3.csv",
        sensitivity=sensitivity_files("questions.parquet"),
        sensitivity_records=sensitivity_files("sensitivity.json"),
        dynamics=dynamics_without_options,
    output:
        comparisons=f"{RESULTS}/compare/comparisons.json",
        verdict=report(f"{RESULTS}/compare/claims.json", caption="../report/captions/claims.rst", category="Evaluation"),
        table=report(f"{RESULTS}/compare/metrics.csv", caption="../report/captions/metrics.rst", category="Evaluation"),
        pairs=report(f"{RESULTS}/compare/pairs.csv", caption="../report/captions/pairs.rst", category="Evaluation"),
        controls=f"{RESULTS}/compare/controls.csv",
        shifts=f"{RESULTS}/compare/shifts.csv",
        arms=f"{RESULTS}/compare/arms.csv",
        decomposition=f"{RESULTS}/compare/decomposition.csv",
    log:
        log_of("compare/compare_models"),
    benchmark:
        benchmark_of("compare/compare_models")
    params:
        models=MODELS,
        design=DESIGN,
        comparison=COMPARISON,
        again=again(f"{RESULTS}/compare/comparisons.json"),
        resamples=EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
    message:
        "Compare the models"
    script:
        "../scripts/compare_models.py"
