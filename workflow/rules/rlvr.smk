"""Reinforcement learning from verifiable rewards (paper, sections 2 and 3.3).

REQUIRED INPUTS: models/base/, prompts/rlvr.jsonl
OUTPUTS:
    candidates  = checkpoints/{arm}/seed{seed}/update{n}/: the saved models, including the last
    rollouts    = rollouts/{arm}/seed{seed}/rollouts.parquet: every sampled response with its grade
    trainer     = rollouts/{arm}/seed{seed}/trainer.parquet: the trainer's own metrics, one row per update
    tensorboard = tensorboard/{arm}/seed{seed}/: the same metrics, as event files
    model       = models/{arm}/seed{seed}/: the last checkpoint, as in the paper
    selected    = models/{arm}_dev/seed{seed}/: the checkpoint with the best development accuracy
    selection   = development/{arm}/seed{seed}/selection.json: results of each candidate
    deleted     = checkpoint_eval/{arm}/seed{seed}/deleted_weights.json: candidates whose weights were deleted
"""


rule train_rlvr:
    """Run OpenRLHF's train_ppo_ray: PPO's clipped loss, the arm's advantage estimator, rewards for format and letter.

    The trainer state is in state/ and is not an output of any rule. An interrupted run resumes from it.
    """
    input:
        base=f"{RESULTS}/models/base",
        prompts=training_rows,
    output:
        models=directory(f"{RESULTS}/checkpoints/{{arm}}/seed{{seed}}"),
        rollouts=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/rollouts.parquet",
        trainer=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/trainer.parquet",
        tensorboard=directory(f"{RESULTS}/tensorboard/{{arm}}/seed{{seed}}"),
    log:
        log_of("checkpoints/{arm}/seed{seed}"),
    benchmark:
        benchmark_of("checkpoints/{arm}/seed{seed}")
    wildcard_constraints:
        arm=RLVR_ARM,
    threads: MACHINE.training_cores
    resources:
        nodes=EXPERIMENT.machine.nodes,
        mem_mb=training_memory,
        gres=MACHINE.gres(EXPERIMENT.machine.gpus_per_node),
    params:
        arm=training,
        # A fingerprint without comments and docstrings.
        reward=lambda wildcards: terms_version(ARMS[wildcards.arm].reward),
        # The other machine settings do not affect a result; the script reads them.
        device=EXPERIMENT.machine.device,
        state=f"{RESULTS}/state",
    message:
        "Train {wildcards.arm}, seed {wildcards.seed}: reinforcement learning from verifiable rewards"
    # Training needs all cores. Steps that need one core run in parallel before or after it.
    priority: 1
    script:
        "../scripts/train_rlvr.py"


rule select_rlvr:
    """Select the last checkpoint, as in the paper, and the best on development. No benchmark affects the selection."""
    input:
        candidates=candidates,
        answers=answers_of_candidates,
        questions=f"{RESULTS}/data/benchmarks/development.parquet",
        base=f"{RESULTS}/base.json",
    output:
        last=directory(f"{RESULTS}/models/{{arm}}/seed{{seed}}"),
        chosen=directory(f"{RESULTS}/models/{{arm}}{DEV_SUFFIX}/seed{{seed}}"),
        selection=f"{RESULTS}/development/{{arm}}/seed{{seed}}/selection.json",
    log:
        log_of("models/{arm}/seed{seed}"),
    benchmark:
        benchmark_of("models/{arm}/seed{seed}")
    wildcard_constraints:
        arm=RLVR_ARM,
    params:
        grader=GRADER,
        answer_format=lambda wildcards: ANSWER_FORMATS[ARMS[wildcards.arm].modes[0]],
        card=card_facts,
        state=f"{RESULTS}/state",
    message:
        "Select the last checkpoint of {wildcards.arm}, seed {wildcards.seed}, and the best on development"
    priority: 3
    script:
        "../scripts/select_rlvr.py"


rule delete_weights:
    """Delete the weights of checkpoints that were not selected, after evaluation: weights need most of the disk.

    The folders stay. If they were Snakemake's temporary files, an added question would trigger days of training.
    """
    input:
        candidates=candidates,
        taken=rules.select_rlvr.output.selection,
        answers=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/answers.parquet",
        probed=(
            f"{RESULTS}/controls/sensitivity/{{arm}}/seed{{seed}}/answers.parquet"
            if EXPERIMENT.controls.sensitivity
            else []
        ),
    output:
        f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/deleted_weights.json",
    log:
        log_of("checkpoint_eval/{arm}/seed{seed}/delete_weights"),
    benchmark:
        benchmark_of("checkpoint_eval/{arm}/seed{seed}/delete_weights")
    wildcard_constraints:
        arm=RLVR_ARM,
    params:
        asked=[checkpoint.path for checkpoint in EXPERIMENT.external_models.values()],
    message:
        "Delete the weights of the checkpoints of {wildcards.arm}, seed {wildcards.seed}, that were not selected"
    priority: 3
    script:
        "../scripts/delete_weights.py"
