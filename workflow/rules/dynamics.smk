"""Training dynamics (paper, section 4.2).

REQUIRED INPUTS: rollouts/{arm}/seed{seed}/rollouts.parquet and trainer.parquet,
    checkpoint_eval/{arm}/seed{seed}/accuracy.parquet, data/train.parquet, models/base/
OUTPUTS:
    responses = dynamics/{arm}/seed{seed}/responses.parquet: stage label and shortcuts of each response
    dynamics  = dynamics/{arm}/seed{seed}.parquet: one row per update
    stages    = dynamics/{arm}/seed{seed}/stages.json: the run's stages with examples, and reward-hacking alarms
"""


rule label_stages:
    """Label the saved rollouts, so that a changed definition does not require new training."""
    input:
        rollouts=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/rollouts.parquet",
        train=f"{RESULTS}/data/train.parquet",
        base=f"{RESULTS}/models/base",
    output:
        f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}/responses.parquet",
    log:
        log_of("dynamics/{arm}/seed{seed}/label_stages"),
    benchmark:
        benchmark_of("dynamics/{arm}/seed{seed}/label_stages")
    params:
        definitions=STAGES,
        evidence=EXPERIMENT.evaluation.evidence,
        evidence_version=EVIDENCE,
    message:
        "Label the responses of {wildcards.arm}, seed {wildcards.seed}"
    script:
        "../scripts/label_stages.py"


rule tabulate_dynamics:
    """Write one row per update, and the stages of the run."""
    input:
        rollouts=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/rollouts.parquet",
        responses=f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}/responses.parquet",
        trainer=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/trainer.parquet",
        curve=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/accuracy.parquet",
    output:
        table=f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}.parquet",
        stages=report(
            f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}/stages.json",
            caption="../report/captions/stages.rst",
            category="Training dynamics",
        ),
    log:
        log_of("dynamics/{arm}/seed{seed}/tabulate_dynamics"),
    benchmark:
        benchmark_of("dynamics/{arm}/seed{seed}/tabulate_dynamics")
    params:
        definitions=STAGES,
        computed=TABLES,
        again=again(f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}/stages.json"),
    message:
        "Tabulate the dynamics of {wildcards.arm}, seed {wildcards.seed}"
    script:
        "../scripts/tabulate_dynamics.py"
