"""The check of a new GPU, which no other rule needs: `make gpu-check` (docs/gpu.md).

REQUIRED INPUTS: models/base/, prompts/rlvr.jsonl, prompts/development.parquet
OUTPUTS:
    report  = report.json: every row with its outcome, figures and expectations
    table   = report.md: the same as a table
    rates   = rates.yaml: an overlay with this machine's rates for `medrlvr plan`; only if they were measured
The environment variable GPU_CHECK_MINUTES limits the time.
"""


rule gpu_check:
    """Check a GPU by training, generation and PPO, and measure its rates. Rows that have passed are not repeated."""
    input:
        base=f"{RESULTS}/models/base",
        prompts=f"{RESULTS}/prompts/rlvr.jsonl",
        development=f"{RESULTS}/prompts/development.parquet",
        curve="assets/gpu_check/curve.tsv",
        presets=sorted(Path("config/presets").glob("*.yaml")),
    output:
        report=f"{RESULTS}/report.json",
        table=f"{RESULTS}/report.md",
    log:
        log_of("gpu_check"),
    benchmark:
        benchmark_of("gpu_check")
    threads: MACHINE.training_cores
    resources:
        gres=MACHINE.gres(1),
    params:
        state=f"{RESULTS}/state",
    message:
        "Check this GPU"
    script:
        "../scripts/gpu_check.py"
