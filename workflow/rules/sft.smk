"""The supervised baseline (paper, section 3.3).

REQUIRED INPUTS: models/base/, prompts/sft.jsonl; to choose, development/{arm}/seed{seed}/answers.parquet
OUTPUTS:
    candidates  = checkpoints/{arm}/seed{seed}/lr{rate}/: one model for each learning rate of the grid
    trainer     = dynamics/{arm}/seed{seed}/lr{rate}.parquet: the trainer's own metrics, one row per update
    tensorboard = tensorboard/{arm}/seed{seed}/lr{rate}/: the same, as event files
    model       = models/{arm}/seed{seed}/: the one that does best on development
    selection   = development/{arm}/seed{seed}/selection.json: how each did
"""


rule train_sft:
    """OpenRLHF's train_sft: question in, letter out, loss on the letter only."""
    input:
        base=f"{RESULTS}/models/base",
        prompts=f"{RESULTS}/prompts/sft.jsonl",
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
        # The rest of the machine is no part of a result and is read by the script.
        device=EXPERIMENT.machine.device,
        state=f"{RESULTS}/state",
    message:
        "Train {wildcards.arm}, learning rate {wildcards.rate}, seed {wildcards.seed}: supervised fine-tuning"
    # Before RLVR: its answers can then be generated next to those of RLVR's checkpoints.
    priority: 2
    script:
        "../scripts/train_sft.py"


rule select_sft:
    """The paper's grid: the learning rate that does best on the development questions."""
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
    message:
        "Choose the learning rate of {wildcards.arm}, seed {wildcards.seed}, on development"
    script:
        "../scripts/select_sft.py"
