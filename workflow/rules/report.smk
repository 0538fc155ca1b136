"""Figures and the report.

REQUIRED INPUTS: eval/{model}/metrics.json, dynamics/{arm}/seed{seed}.parquet and stages.json,
    compare/{comparisons,claims}.json, rollouts, data/, development/{arm}/seed{seed}/selection.json, base.json
OUTPUTS:
    figures = figures/{accuracy,dynamics,training,hacking,ablations}.svg, each with .pdf, .csv and a one-column
              version, {name}_column
    report  = report.html: self-contained
"""

# The figure that compares arms needs at least two of them.
PANELS = ["training", "hacking", *(["ablations"] if len(LAYOUT.rlvr_arms) > 1 else [])]
FIGURES = ["accuracy", "dynamics", *PANELS]
# Files from which the report states what the gain consists of.
EXPLANATION = [
    f"{RESULTS}/controls/{name}/{name}.json"
    for name in ("waterfall", "samples")
    if EXPERIMENT.controls.waterfall and getattr(EXPERIMENT.controls, name)
]
WATERFALL_FIGURES = [f"{RESULTS}/figures/waterfall{kind}.svg" for kind in ("", "_column") if EXPLANATION]
CONTROL_FIGURES = [
    *(["sensitivity"] if EXPERIMENT.controls.sensitivity else []),
    *(["samples"] if EXPERIMENT.controls.samples else []),
]
PROBED = RLVR_RUNS if EXPERIMENT.controls.sensitivity else []
TITLES = EXPERIMENT.titles()
TEMPLATE_FILES = sorted(map(str, Path("src/medrlvr/report/templates").glob("*.*")))
# The report shows the answers of these models side by side: the paper's systems, first seeds.
SIDE_BY_SIDE = [model for model in MODELS if model == "base" or model in LAYOUT.paper_models]


rule draw_figures:
    """Draw each figure, and write the table that it was drawn from."""
    input:
        metrics=expand(f"{RESULTS}/eval/{{model}}/metrics.json", model=MODELS),
        dynamics=expand(f"{RESULTS}/dynamics/{{run}}.parquet", run=RLVR_RUNS),
        stages=expand(f"{RESULTS}/dynamics/{{run}}/stages.json", run=RLVR_RUNS),
        comparisons=f"{RESULTS}/compare/comparisons.json",
        figure2="assets/paper/figure2.csv",
        papers_stages="assets/paper/stages.csv",
        figure3="assets/paper/figure3.csv",
    output:
        **{
            name: report(f"{RESULTS}/figures/{name}.svg", caption=f"../report/captions/{name}.rst", category="Figures")
            for name in FIGURES
        },
        **{f"{name}_column": f"{RESULTS}/figures/{name}_column.svg" for name in FIGURES},
        **{f"{name}_column_pdf": f"{RESULTS}/figures/{name}_column.pdf" for name in FIGURES},
        **{f"{name}_pdf": f"{RESULTS}/figures/{name}.pdf" for name in FIGURES},
        **{f"{name}_csv": f"{RESULTS}/figures/{name}.csv" for name in FIGURES},
    log:
        log_of("figures/draw_figures"),
    benchmark:
        benchmark_of("figures/draw_figures")
    params:
        models=MODELS,
        runs=RLVR_RUNS,
        panels=PANELS,
        titles=TITLES,
        title=EXPERIMENT.title,
        design=DESIGN,
    message:
        "Draw the figures"
    script:
        "../scripts/draw_figures.py"


rule render_report:
    """Render report.html."""
    input:
        # Files of all steps, because Provenance lists each of them.
        records=RECORDS,
        templates=TEMPLATE_FILES,
        metrics=expand(f"{RESULTS}/eval/{{model}}/metrics.json", model=MODELS),
        base_metrics=f"{RESULTS}/eval/base/metrics.json",
        comparisons=f"{RESULTS}/compare/comparisons.json",
        verdict=f"{RESULTS}/compare/claims.json",
        dynamics=expand(f"{RESULTS}/dynamics/{{run}}.parquet", run=RLVR_RUNS),
        stages=expand(f"{RESULTS}/dynamics/{{run}}/stages.json", run=RLVR_RUNS),
        responses=expand(f"{RESULTS}/dynamics/{{run}}/responses.parquet", run=RLVR_RUNS),
        rollouts=expand(f"{RESULTS}/rollouts/{{run}}/rollouts.parquet", run=RLVR_RUNS),
        checkpoints=expand(f"{RESULTS}/checkpoint_eval/{{run}}/grades.parquet", run=RLVR_RUNS),
        scores=expand(f"{RESULTS}/eval/{{model}}/scores.parquet", model=MODELS),
        questions=[
            f"{RESULTS}/data/train.parquet",
            *expand(f"{RESULTS}/data/benchmarks/{{name}}.parquet", name=BENCHMARKS),
        ],
        data_card=f"{RESULTS}/data/data_card.json",
        base=f"{RESULTS}/base.json",
        kills="docs/faults.json",
        glossary="docs/glossary.md",
        selections=expand(f"{RESULTS}/development/{{run}}/selection.json", run=LAYOUT.trained),
        figures=[
            *(f"{RESULTS}/figures/{name}{kind}.svg" for name in FIGURES for kind in ("", "_column")),
            *(f"{RESULTS}/figures/{name}.svg" for name in CONTROL_FIGURES),
            *WATERFALL_FIGURES,
        ],
        explanation=EXPLANATION,
        sensitivity_record=expand(f"{RESULTS}/controls/sensitivity/{{run}}/sensitivity.json", run=PROBED),
        sensitivity_requests=expand(f"{RESULTS}/controls/sensitivity/{{run}}/requests.parquet", run=PROBED),
        sensitivity_answers=expand(f"{RESULTS}/controls/sensitivity/{{run}}/answers.parquet", run=PROBED),
        sensitivity_questions=expand(f"{RESULTS}/controls/sensitivity/{{run}}/questions.parquet", run=PROBED),
        samples=[f"{RESULTS}/controls/samples/samples.json"] if EXPERIMENT.controls.samples else [],
        formats=[f"{RESULTS}/controls/formats/formats.json"] if EXPERIMENT.controls.formats else [],
    output:
        page=report(f"{RESULTS}/report.html", caption="../report/captions/page.rst", category="Results"),
        config=f"{RESULTS}/config.yaml",
    log:
        log_of("report/render_report"),
    benchmark:
        benchmark_of("report/render_report")
    params:
        models=MODELS,
        runs=RLVR_RUNS,
        shown=SIDE_BY_SIDE,
        questions=["train", *BENCHMARKS],
        trained=LAYOUT.trained,
        probed=PROBED,
        titles=TITLES,
        design=DESIGN,
        experiment=EXPERIMENT.model_dump(mode="json", exclude={"machine"}),
        records=lambda wildcards: [made_by(record) for record in RECORDS],
        gpus={
            "training_gpus": {name: MACHINE.training_gpus(arm) for name, arm in ARMS.items()},
            "asking_gpus": MACHINE.engine_gpus,
        },
    message:
        "Render the report: {output.page}"
    script:
        "../scripts/render_report.py"
