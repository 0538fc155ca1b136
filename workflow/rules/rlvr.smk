"""Reinforcement learning from verifiable rewards (paper, sections 2 and 3.3).

REQUIRED INPUTS: models/base/, prompts/rlvr.jsonl
OUTPUTS:
    candidates  = checkpoints/{arm}/seed{seed}/update{n}/: the models on the way, the last among them
    rollouts    = rollouts/{arm}/seed{seed}/rollouts.parquet: every sampled response with its grade
    trainer     = rollouts/{arm}/seed{seed}/trainer.parquet: the trainer's own metrics, one row per update
    tensorboard = tensorboard/{arm}/seed{seed}/: the same, as event files
    model       = models/{arm}/seed{seed}/: the last one, the paper's choice
    chosen      = models/{arm}_dev/seed{seed}/: the one that does best on development
    selection   = development/{arm}/seed{seed}/selection.json: how each did
    dropped     = checkpoint_eval/{arm}/seed{seed}/deleted_weights.json: candidates whose weights were deleted
"""


rule train_rlvr:
    """OpenRLHF's train_ppo_ray: PPO's clipped loss, advantages as the arm says, the option letter as the only signal.

    The trainer's checkpoints are under state/, no output of any rule: an interrupted run goes on from there.
    """
    input:
        base=f"{RESULTS}/models/base",
        prompts=f"{RESULTS}/prompts/rlvr.jsonl",
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
        # The rest of the machine is no part of a result and is read by the script.
        device=EXPERIMENT.machine.device,
        state=f"{RESULTS}/state",
    message:
        "Train {wildcards.arm}, seed {wildcards.seed}: reinforcement learning from verifiable rewards"
    # Training needs all cores: steps that need one run next to each other before or after it.
    priority: 1
    script:
        "../scripts/train_rlvr.py"


rule select_rlvr:
    """The last checkpoint, as in the paper, and beside it the best on development; never by a test."""
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
    message:
        "Take the last checkpoint of {wildcards.arm}, seed {wildcards.seed}, and the best on development"
    priority: 3
    script:
        "../scripts/select_rlvr.py"


rule delete_weights:
    """Weights take most of the disk: once all is asked, those are deleted that nobody took, unless they are to be kept.

    Their folders stay. Were they temporary, Snakemake would train for days because a question was added.
    """
    input:
        candidates=candidates,
        taken=rules.select_rlvr.output.selection,
        answers=f"{RESULTS}/checkpoint_eval/{{arm}}/seed{{seed}}/answers.parquet",
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
        "Drop the weights of {wildcards.arm}, seed {wildcards.seed}, that nobody took"
    priority: 3
    script:
        "../scripts/delete_weights.py"
