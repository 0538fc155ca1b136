"""Controls of what a gain consists of (docs/controls.md). None of them runs unless an overlay of config/controls/ asks for it.

REQUIRED INPUTS: models/base/, checkpoints/{arm}/seed{seed}/, checkpoint_eval/{arm}/seed{seed}/answers.parquet and
    requests.parquet, data/benchmarks/{benchmark}.parquet, data/clusters.parquet
OUTPUTS:
    probes      = controls/sensitivity/{arm}/seed{seed}/answers.parquet: option probabilities after a changed think block
    sensitivity = controls/sensitivity/{arm}/seed{seed}/sensitivity.json, the same as CSV, and questions.parquet
    samples     = controls/samples/answers.parquet: repeated answers of the base, SFT and RLVR; samples.json: pass@k and
                  maj@k, the same as CSV
    formats     = controls/formats/formats.json: accuracy in other answer formats, and questions that the base remembers
    waterfall   = controls/rows/{rows}.jsonl: training rows of its arms; controls/waterfall/waterfall.json: RLVR's gain in
                  steps, the same as CSV
    figures     = figures/{sensitivity,samples,waterfall}.svg, with .pdf and .csv
"""

# All checkpoints are measured on these benchmarks, for the curve; the last one on every benchmark.
IN_DISTRIBUTION = [name for name, benchmark in EXPERIMENT.benchmarks.items() if benchmark.distribution == "in"]
SENSITIVITY = f"{RESULTS}/controls/sensitivity/{{arm}}/seed{{seed}}"


rule probe_checkpoints:
    """Read the options' probabilities after changed think blocks, for the base and each checkpoint with weights."""
    input:
        models=[f"{RESULTS}/models/base", f"{RESULTS}/checkpoints/{{arm}}/seed{{seed}}"],
        responses=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/answers.parquet",
        prompts=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/requests.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
    output:
        answers=f"{SENSITIVITY}/answers.parquet",
        asked=f"{SENSITIVITY}/requests.parquet",
        command=f"{SENSITIVITY}/command.sh",
        generation=f"{SENSITIVITY}/generation.json",
    log:
        log_of("controls/sensitivity/{arm}/seed{seed}/probe_checkpoints"),
    benchmark:
        benchmark_of("controls/sensitivity/{arm}/seed{seed}/probe_checkpoints")
    wildcard_constraints:
        arm=RLVR_ARM,
    threads: MACHINE.engine_cores
    resources:
        gres=MACHINE.gres(MACHINE.engine_gpus),
    params:
        **ASKING,
        grader=GRADER,
        evidence=EXPERIMENT.evaluation.evidence,
        evidence_version=EVIDENCE,
        benchmarks=BENCHMARKS,
        questions=EXPERIMENT.controls.questions,
        curve=dict.fromkeys(IN_DISTRIBUTION, EXPERIMENT.controls.curve_questions),
        response_max_tokens=lambda wildcards: EXPERIMENT.modes[ARMS[wildcards.arm].modes[0]].max_tokens,
        display_name="{arm}, seed {seed}, sensitivity",
    message:
        "Measure how the answers of {wildcards.arm}, seed {wildcards.seed}, depend on the chain of thought"
    # The weights of its checkpoints are deleted afterwards.
    priority: 3
    script:
        "../scripts/probe_checkpoints.py"


rule measure_sensitivity:
    """Compute the measures of sensitivity from the options' probabilities."""
    input:
        models=rules.probe_checkpoints.input.models,
        answers=rules.probe_checkpoints.output.answers,
        probes=rules.probe_checkpoints.output.asked,
        clusters=f"{RESULTS}/data/clusters.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
    output:
        questions=f"{SENSITIVITY}/questions.parquet",
        record=f"{SENSITIVITY}/sensitivity.json",
        table=f"{SENSITIVITY}/sensitivity.csv",
    log:
        log_of("controls/sensitivity/{arm}/seed{seed}/measure_sensitivity"),
    benchmark:
        benchmark_of("controls/sensitivity/{arm}/seed{seed}/measure_sensitivity")
    params:
        comparison=COMPARISON,
        benchmarks=BENCHMARKS,
        questions=EXPERIMENT.controls.questions,
        curve=dict.fromkeys(IN_DISTRIBUTION, EXPERIMENT.controls.curve_questions),
        resamples=10 * EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
        again=again(f"{SENSITIVITY}/sensitivity.json"),
    message:
        "Compute the sensitivity of {wildcards.arm}, seed {wildcards.seed}"
    script:
        "../scripts/measure_sensitivity.py"


rule draw_sensitivity:
    """Draw sensitivity over updates, under the stages of the run, for the arm that represents the paper's."""
    input:
        tables=expand(f"{RESULTS}/controls/sensitivity/{{run}}/sensitivity.csv", run=LAYOUT.papers_rlvr_runs),
        stages=expand(f"{RESULTS}/dynamics/{{run}}/stages.json", run=LAYOUT.papers_rlvr_runs),
    output:
        figure=f"{RESULTS}/figures/sensitivity.svg",
        pdf=f"{RESULTS}/figures/sensitivity.pdf",
        table=f"{RESULTS}/figures/sensitivity.csv",
    log:
        log_of("figures/draw_sensitivity"),
    benchmark:
        benchmark_of("figures/draw_sensitivity")
    params:
        runs=LAYOUT.papers_rlvr_runs,
        titles={name: one.title for name, one in EXPERIMENT.benchmarks.items()},
    message:
        "Draw the sensitivity to the chain of thought"
    script:
        "../scripts/draw_sensitivity.py"


SAMPLED = EXPERIMENT.sampled_models()


rule sample_answers:
    """Sample each drawn question repeatedly, for the base, SFT and RLVR."""
    input:
        models=[f"{RESULTS}/models/{model}" for model in SAMPLED],
        prompts=f"{RESULTS}/prompts/benchmarks.parquet",
    output:
        answers=f"{RESULTS}/controls/samples/answers.parquet",
        asked=f"{RESULTS}/controls/samples/requests.parquet",
        command=f"{RESULTS}/controls/samples/command.sh",
        generation=f"{RESULTS}/controls/samples/generation.json",
    log:
        log_of("controls/samples/sample_answers"),
    benchmark:
        benchmark_of("controls/samples/sample_answers")
    threads: MACHINE.engine_cores
    resources:
        gres=MACHINE.gres(MACHINE.engine_gpus),
    params:
        **ASKING,
        benchmarks=BENCHMARKS,
        questions=EXPERIMENT.controls.questions,
        modes=list(SAMPLED.values()),
        settings=settings_of(dict.fromkeys(SAMPLED.values())),
        sampling={
            "samples": EXPERIMENT.controls.samples,
            "temperature": ARMS[EXPERIMENT.primary_arm("rlvr")].temperature,
        },
        display_name="samples",
    message:
        "Sample the answers of the base, SFT and RLVR repeatedly"
    script:
        "../scripts/sample_answers.py"


rule measure_samples:
    """Grade the samples, and compute pass@k and maj@k."""
    input:
        answers=rules.sample_answers.output.answers,
        clusters=f"{RESULTS}/data/clusters.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
    output:
        scores=f"{RESULTS}/controls/samples/scores.parquet",
        record=f"{RESULTS}/controls/samples/samples.json",
        table=f"{RESULTS}/controls/samples/samples.csv",
    log:
        log_of("controls/samples/measure_samples"),
    benchmark:
        benchmark_of("controls/samples/measure_samples")
    params:
        grader=GRADER,
        evidence=EXPERIMENT.evaluation.evidence,
        evidence_version=EVIDENCE,
        benchmarks=BENCHMARKS,
        comparison=COMPARISON,
        models={f"{RESULTS}/models/{model}": model.split("/")[0] for model in SAMPLED},
        forms={mode: ANSWER_FORMATS[mode] for mode in SAMPLED.values()},
        rlvr=EXPERIMENT.primary_arm("rlvr"),
        resamples=10 * EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
        again=again(f"{RESULTS}/controls/samples/samples.json"),
    message:
        "Compute pass@k and maj@k"
    script:
        "../scripts/measure_samples.py"


rule draw_samples:
    """Draw pass@k and maj@k, next to guessing."""
    input:
        rules.measure_samples.output.table,
    output:
        figure=f"{RESULTS}/figures/samples.svg",
        pdf=f"{RESULTS}/figures/samples.pdf",
        table=f"{RESULTS}/figures/samples.csv",
    log:
        log_of("figures/draw_samples"),
    benchmark:
        benchmark_of("figures/draw_samples")
    params:
        titles={name: one.title for name, one in EXPERIMENT.benchmarks.items()},
    message:
        "Draw pass@k and maj@k"
    script:
        "../scripts/draw_samples.py"


ANSWER_TEMPLATES = {
    "tags": EXPERIMENT.prompts.chain_of_thought,
    **{name: f"prompts/med_rlvr_{name}.txt" for name in ("boxed", "answer_line", "open")},
}


rule answer_formats:
    """Generate answers in other formats, and let the base continue the drawn questions after their first option."""
    input:
        models=[f"{RESULTS}/models/{model}" for model in SAMPLED],
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        layout=EXPERIMENT.prompts.question,
        templates=list(ANSWER_TEMPLATES.values()),
    output:
        answers=f"{RESULTS}/controls/formats/answers.parquet",
        asked=f"{RESULTS}/controls/formats/requests.parquet",
        command=f"{RESULTS}/controls/formats/command.sh",
        generation=f"{RESULTS}/controls/formats/generation.json",
    log:
        log_of("controls/formats/answer_formats"),
    benchmark:
        benchmark_of("controls/formats/answer_formats")
    threads: MACHINE.engine_cores
    resources:
        gres=MACHINE.gres(MACHINE.engine_gpus),
    params:
        **ASKING,
        benchmarks=BENCHMARKS,
        drawn=EXPERIMENT.controls.questions,
        formats=list(ANSWER_TEMPLATES),
        max_tokens=EXPERIMENT.modes[SAMPLED["base"]].max_tokens,
        display_name="answer formats",
    message:
        "Evaluate the base, SFT and RLVR in other answer formats"
    script:
        "../scripts/answer_formats.py"


rule measure_formats:
    """Grade the answers in other formats, and compute accuracies with and without remembered questions."""
    input:
        answers=rules.answer_formats.output.answers,
        clusters=f"{RESULTS}/data/clusters.parquet",
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        scores=[f"{RESULTS}/eval/{model}/scores.parquet" for model in SAMPLED],
    output:
        record=f"{RESULTS}/controls/formats/formats.json",
        matrix=f"{RESULTS}/controls/formats/formats.csv",
        memory=f"{RESULTS}/controls/formats/memory.csv",
    log:
        log_of("controls/formats/measure_formats"),
    benchmark:
        benchmark_of("controls/formats/measure_formats")
    params:
        grader=GRADER,
        comparison=COMPARISON,
        benchmarks=BENCHMARKS,
        models=SAMPLED,
        rlvr=expand(f"{RESULTS}/models/{{run}}", run=LAYOUT.papers_rlvr_runs),
        base=f"{RESULTS}/models/base",
        resamples=10 * EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
        again=again(f"{RESULTS}/controls/formats/formats.json"),
    message:
        "Compute the accuracies in other answer formats"
    script:
        "../scripts/measure_formats.py"


rule sample_training:
    """Sample the base on the training questions, for the rows of the waterfall's arms."""
    input:
        **LAYOUTS,
        models=f"{RESULTS}/models/base",
        train=f"{RESULTS}/data/train.parquet",
        template=EXPERIMENT.prompts.chain_of_thought,
    output:
        answers=f"{RESULTS}/controls/rows/{{rows}}/answers.parquet",
        asked=f"{RESULTS}/controls/rows/{{rows}}/requests.parquet",
        command=f"{RESULTS}/controls/rows/{{rows}}/command.sh",
        generation=f"{RESULTS}/controls/rows/{{rows}}/generation.json",
    log:
        log_of("controls/rows/{rows}/sample_training"),
    benchmark:
        benchmark_of("controls/rows/{rows}/sample_training")
    wildcard_constraints:
        rows="majority|own_responses",
    threads: MACHINE.engine_cores
    resources:
        gres=MACHINE.gres(MACHINE.engine_gpus),
    params:
        **ASKING,
        mode=lambda wildcards: EXPERIMENT.base_sampling(wildcards.rows).model_dump(mode="json"),
        number=lambda wildcards: EXPERIMENT.sampled_rows(wildcards.rows),
        display_name="base, {rows}",
    message:
        "Sample the base on the training questions: {wildcards.rows}"
    script:
        "../scripts/sample_training.py"


rule write_training_rows:
    """Write training rows with other labels, or with the base's own right responses."""
    input:
        prompts=f"{RESULTS}/prompts/rlvr.jsonl",
        train=f"{RESULTS}/data/train.parquet",
        answers=lambda wildcards: (
            [] if wildcards.rows == "wrong" else f"{RESULTS}/controls/rows/{wildcards.rows}/answers.parquet"
        ),
    output:
        f"{RESULTS}/controls/rows/{{rows}}.jsonl",
    log:
        log_of("controls/rows/{rows}/write_training_rows"),
    benchmark:
        benchmark_of("controls/rows/{rows}/write_training_rows")
    wildcard_constraints:
        rows="majority|wrong|own_responses",
    params:
        grader=GRADER,
    message:
        "Write the training rows with other targets: {wildcards.rows}"
    script:
        "../scripts/write_training_rows.py"


rule measure_waterfall:
    """Divide RLVR's gain over its base into steps, from the stored scores."""
    input:
        scores=expand(f"{RESULTS}/eval/{{model}}/scores.parquet", model=LAYOUT.waterfall_models),
        questions=expand(f"{RESULTS}/data/benchmarks/{{benchmark}}.parquet", benchmark=BENCHMARKS),
        clusters=f"{RESULTS}/data/clusters.parquet",
    output:
        record=f"{RESULTS}/controls/waterfall/waterfall.json",
        table=f"{RESULTS}/controls/waterfall/waterfall.csv",
    log:
        log_of("controls/waterfall/measure_waterfall"),
    benchmark:
        benchmark_of("controls/waterfall/measure_waterfall")
    params:
        models=LAYOUT.waterfall_models,
        roles=EXPERIMENT.controls.roles,
        benchmarks=BENCHMARKS,
        design=DESIGN,
        comparison=COMPARISON,
        resamples=10 * EXPERIMENT.evaluation.bootstrap_resamples,
        seed=EXPERIMENT.evaluation.seed,
        again=again(f"{RESULTS}/controls/waterfall/waterfall.json"),
    message:
        "Divide RLVR's gain over its base into steps"
    script:
        "../scripts/measure_waterfall.py"


rule draw_waterfall:
    """Draw the steps of RLVR's gain."""
    input:
        rules.measure_waterfall.output.record,
    output:
        figure=f"{RESULTS}/figures/waterfall.svg",
        pdf=f"{RESULTS}/figures/waterfall.pdf",
        column=f"{RESULTS}/figures/waterfall_column.svg",
        column_pdf=f"{RESULTS}/figures/waterfall_column.pdf",
        table=f"{RESULTS}/figures/waterfall.csv",
    log:
        log_of("figures/draw_waterfall"),
    benchmark:
        benchmark_of("figures/draw_waterfall")
    params:
        titles={name: one.title for name, one in EXPERIMENT.benchmarks.items()},
    message:
        "Draw the steps of RLVR's gain"
    script:
        "../scripts/draw_waterfall.py"
