"""Reinforcement learning from verifiable rewards (paper, sections 2 and 3.3).

REQUIRED INPUTS: models/base/, prompts/rlvr.jsonl
OUTPUTS:
    model    = models/{arm}/seed{seed}/: the last checkpoint, as in the paper
    rollouts = rollouts/{arm}/seed{seed}/rollouts.parquet: every sampled response with its grade
    trainer  = rollouts/{arm}/seed{seed}/trainer.parquet: the trainer's own metrics, one row per update
"""


rule train_rlvr:
    """OpenRLHF's train_ppo_ray: PPO with a learned critic, the option letter as the only signal.

    The trainer's checkpoints are under state/, no output of any rule: an interrupted run goes on from there.
    """
    input:
        base=f"{RESULTS}/models/base",
        prompts=f"{RESULTS}/prompts/rlvr.jsonl",
    output:
        model=directory(f"{RESULTS}/models/{{arm}}/seed{{seed}}"),
        rollouts=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/rollouts.parquet",
        trainer=f"{RESULTS}/rollouts/{{arm}}/seed{{seed}}/trainer.parquet",
    wildcard_constraints:
        arm="|".join(RLVR_ARMS),
    log:
        f"{RESULTS}/logs/models/{{arm}}/seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/models/{{arm}}/seed{{seed}}.tsv"
    threads: workflow.cores
    params:
        arm=lambda wildcards: EXPERIMENT.arms[wildcards.arm].model_dump(exclude={"seeds"}),
        # The rest of the machine is no part of a result and is read by the script.
        device=EXPERIMENT.machine.device,
        state=f"{RESULTS}/state",
    message:
        "Train {wildcards.arm}, seed {wildcards.seed}: reinforcement learning from verifiable rewards"
    script:
        "../scripts/train_rlvr.py"
