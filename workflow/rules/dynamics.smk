"""Training dynamics (paper, section 4.2).

REQUIRED INPUTS: rollouts/{arm}/seed{seed}/rollouts.parquet and trainer.parquet
OUTPUTS: dynamics/{arm}/seed{seed}.parquet: one row per update
"""


rule tabulate_dynamics:
    """From rollouts on disk, so that a new metric needs no new training."""
    input:
        rollouts=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/rollouts.parquet",
        trainer=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/trainer.parquet",
    output:
        f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}.parquet",
    log:
        f"{RESULTS}/logs/dynamics/{{arm}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/dynamics/{{arm}}/seed{{seed}}.tsv"
    conda:
        "../../envs/conda.yaml"
    message:
        "Tabulate the dynamics of {wildcards.arm}, seed {wildcards.seed}"
    script:
        "../scripts/tabulate_dynamics.py"
