"""Med-RLVR, from raw questions to a page on which every number can be traced.

The rules stand in workflow/rules/, in the order in which they run. `make help` lists the ways in.
"""

import sys

sys.path.insert(0, f"{workflow.basedir}/src")


configfile: "config/config.yaml"


report: "workflow/report/captions/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/functions.smk"


wildcard_constraints:
    model="|".join(MODELS),
    seed=r"\d+",


onstart:
    check_machine()
    record_version(LAYOUT.results)


onsuccess:
    show_scores()


rule all:
    """The page, and a record of every step.

    Snakemake deletes what a failed step wrote before, and would find nothing to do while all after it is there. Models
    are not asked for: who deletes them for their size does not train again.
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
include: "workflow/rules/report.smk"
