"""Med-RLVR, from raw questions to a page on which every number can be traced.

The rules stand in workflow/rules/, in the order in which they run. `make help` lists the ways in.
"""

import os
import sys

from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/src")
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [f"{workflow.basedir}/src", os.environ.get("PYTHONPATH")])
)

from medrlvr import config as configuration, rewards
from medrlvr.errors import UserError


configfile: "config/config.yaml"


try:
    EXPERIMENT = configuration.load(config, " + ".join(map(str, workflow.configfiles)))
    for arm in EXPERIMENT.arms.values():
        if arm.trainer == "rlvr":
            rewards.find(arm.reward)
except UserError as error:
    raise WorkflowError(str(error)) from None

RESULTS = f"results/{EXPERIMENT.experiment}"
MODELS = EXPERIMENT.models()
BENCHMARKS = list(EXPERIMENT.benchmarks)
SFT_ARMS = [name for name, arm in EXPERIMENT.arms.items() if arm.trainer == "sft"]
RLVR_ARMS = [name for name, arm in EXPERIMENT.arms.items() if arm.trainer == "rlvr"]
RLVR_RUNS = [model for model in MODELS if model.split("/")[0] in RLVR_ARMS]


wildcard_constraints:
    model="|".join(MODELS),
    seed=r"\d+",


rule all:
    """The page, and all that stands on it."""
    default_target: True
    input:
        f"{RESULTS}/report.html",


include: "workflow/rules/data.smk"
include: "workflow/rules/prompts.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/sft.smk"
include: "workflow/rules/rlvr.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/dynamics.smk"
include: "workflow/rules/report.smk"
