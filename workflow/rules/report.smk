"""Figures and the page.

REQUIRED INPUTS: eval/{model}/metrics.json, dynamics/{arm}/seed{seed}.parquet, compare/{comparisons,verdict}.json, rollouts, data/,
    development/{arm}/seed{seed}/selection.json, base.json
OUTPUTS:
    figures = figures/{accuracy,dynamics,training}.svg, each with its .csv
    page    = report.html: self-contained
"""

FIGURES = ["accuracy", "dynamics", "training"]
TITLES = EXPERIMENT.titles()


rule draw_figures:
    """Each figure with the table that it was drawn from."""
    input:
        metrics=expand(f"{RESULTS}/eval/{{model}}/metrics.json", model=MODELS),
        dynamics=expand(f"{RESULTS}/dynamics/{{run}}.parquet", run=RLVR_RUNS),
        comparisons=f"{RESULTS}/compare/comparisons.json",
        paper="assets/paper/figure3.csv",
    output:
        **{name: f"{RESULTS}/figures/{name}.svg" for name in FIGURES},
        **{f"{name}_csv": f"{RESULTS}/figures/{name}.csv" for name in FIGURES},
    log:
        f"{RESULTS}/logs/figures/draw_figures.log",
    benchmark:
        f"{RESULTS}/benchmarks/figures/draw_figures.tsv"
    params:
        models=MODELS,
        titles=TITLES,
        design=EXPERIMENT.design(),
    conda:
        "../../envs/conda.yaml"
    message:
        "Draw the figures"
    script:
        "../scripts/draw_figures.py"


rule render_report:
    """The page people open."""
    input:
        template="workflow/report/page.html.jinja",
        metrics=expand(f"{RESULTS}/eval/{{model}}/metrics.json", model=MODELS),
        comparisons=f"{RESULTS}/compare/comparisons.json",
        verdict=f"{RESULTS}/compare/verdict.json",
        dynamics=expand(f"{RESULTS}/dynamics/{{run}}.parquet", run=RLVR_RUNS),
        rollouts=expand(f"{RESULTS}/rollouts/{{run}}/rollouts.parquet", run=RLVR_RUNS),
        data_card=f"{RESULTS}/data/data_card.json",
        base=f"{RESULTS}/base.json",
        selections=expand(f"{RESULTS}/development/{{run}}/selection.json", run=RUNS),
        figures=[f"{RESULTS}/figures/{name}.svg" for name in FIGURES],
    output:
        page=f"{RESULTS}/report.html",
        config=f"{RESULTS}/config.yaml",
    log:
        f"{RESULTS}/logs/report/render_report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report/render_report.tsv"
    params:
        models=MODELS,
        runs=RLVR_RUNS,
        trained=RUNS,
        titles=TITLES,
        design=EXPERIMENT.design(),
        experiment=EXPERIMENT.model_dump(mode="json", exclude={"machine"}),
    conda:
        "../../envs/conda.yaml"
    message:
        "Render the page: {output.page}"
    script:
        "../scripts/render_report.py"
