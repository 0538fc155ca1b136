"""The supervised baseline (paper, section 3.3).

REQUIRED INPUTS: models/base/, prompts/sft.jsonl
OUTPUTS: model = models/{arm}/seed{seed}/
"""


rule train_sft:
    """OpenRLHF's train_sft: question in, letter out, loss on the letter only."""
    input:
        base=f"{RESULTS}/models/base",
        prompts=f"{RESULTS}/prompts/sft.jsonl",
    output:
        model=directory(f"{RESULTS}/models/{{arm}}/seed{{seed}}"),
    wildcard_constraints:
        arm="|".join(SFT_ARMS),
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
        "Train {wildcards.arm}, seed {wildcards.seed}: supervised fine-tuning"
    script:
        "../scripts/train_sft.py"
