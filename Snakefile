"""Med-RLVR, from raw questions to a report in which every number can be traced.

The rules are in workflow/rules/; the files are included below in the order in which they run. `medrlvr --help` lists
the commands that start this workflow.
"""

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, f"{workflow.basedir}/src")

if not Path("config/config.yaml").is_file():
    raise WorkflowError(f"Start Snakemake in the repository's root:  cd {shlex.quote(workflow.basedir)}")


configfile: "config/config.yaml"


report: "workflow/report/captions/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/functions.smk"


wildcard_constraints:
    model="|".join(MODELS),
    seed=r"\d+",


onstart:
    RUNNING.append(or_stop(hold_results, LAYOUT.results))
    check_machine()
    record_version(LAYOUT.results)


onsuccess:
    show_scores()


rule all:
    """Request the report and a record of every step.

    When a job fails, Snakemake deletes its old output. If all later files still exist and only the report is
    requested, the next run finds nothing to do and keeps an outdated report. Models are not requested, so you can
    delete them to save space without triggering training.
    """
    default_target: True
    input:
        f"{RESULTS}/report.html",
        RECORDS,


include: "workflow/rules/data.smk"
include: "workflow/rules/prompts.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/sft.smk"
include: "workflow/rules/rlvr.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/dynamics.smk"
include: "workflow/rules/controls.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/gpu_check.smk"
