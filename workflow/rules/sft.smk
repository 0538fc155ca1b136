"""The supervised baseline (paper, section 3.3).

REQUIRED INPUTS: models/base/, prompts/sft.jsonl; for the selection, development/{arm}/seed{seed}/answers.parquet
OUTPUTS:
    candidates  = checkpoints/{arm}/seed{seed}/lr{rate}/: one model for each learning rate of the grid
    trainer     = dynamics/{arm}/seed{seed}/lr{rate}.parquet: the trainer's own metrics, one row per update
    tensorboard = tensorboard/{arm}/seed{seed}/lr{rate}/: the same metrics, as event files
    model       = models/{arm}/seed{seed}/: the candidate with the best development accuracy
    selection   = development/{arm}/seed{seed}/selection.json: results of each candidate
"""


rule train_sft:
    """Run OpenRLHF's train_sft on questions and option letters; the loss is on the letter only."""
    input:
        base=f"{RESULTS}/models/base",
        prompts=training_rows,
    output:
        model=directory(f"{RESULTS}/checkpoints/{{arm}}/seed{{seed}}/lr{{rate}}"),
        trainer=f"{RESULTS}/dynamics/{{arm}}/seed{{seed}}/lr{{rate}}.parquet",
        tensorboard=directory(f"{RESULTS}/tensorboard/{{arm}}/seed{{seed}}/lr{{rate}}"),
    log:
        log_of("checkpoints/{arm}/seed{seed}/lr{rate}"),
    benchmark:
        benchmark_of("checkpoints/{arm}/seed{seed}/lr{rate}")
    wildcard_constraints:
        arm=SFT_ARM,
        rate=r"[^/]+",
    threads: MACHINE.training_cores
    resources:
        mem_mb=training_memory,
        gres=MACHINE.gres(EXPERIMENT.machine.gpus_per_node),
    params:
        arm=training,
        # The other machine settings do not affect a result; the script reads them.
        device=EXPERIMENT.machine.device,
        state=f"{RESULTS}/state",
    message:
        "Train {wildcards.arm}, learning rate {wildcards.rate}, seed {wildcards.seed}: supervised fine-tuning"
    # SFT trains before RLVR, so that its answers can be generated in parallel with those of RLVR's checkpoints.
    priority: 2
    script:
        "../scripts/train_sft.py"


rule select_sft:
    """Select the learning rate with the best development accuracy from the paper's grid."""
    input:
        candidates=candidates,
        answers=answers_of_candidates,
        questions=f"{RESULTS}/data/benchmarks/development.parquet",
        base=f"{RESULTS}/base.json",
    output:
        model=directory(f"{RESULTS}/models/{{arm}}/seed{{seed}}"),
        selection=f"{RESULTS}/development/{{arm}}/seed{{seed}}/selection.json",
    log:
        log_of("models/{arm}/seed{seed}"),
    benchmark:
        benchmark_of("models/{arm}/seed{seed}")
    wildcard_constraints:
        arm=SFT_ARM,
    params:
        grader=GRADER,
        answer_format=lambda wildcards: ANSWER_FORMATS[ARMS[wildcards.arm].modes[0]],
        card=card_facts,
        state=f"{RESULTS}/state",
    message:
        "Select the learning rate of {wildcards.arm}, seed {wildcards.seed}, on development"
    script:
        "../scripts/select_sft.py"
