"""Med-RLVR, reproducible (arXiv 2502.19655): from raw questions to a report in which every number can be traced.

The packages, in the order of the paper's story; each imports only packages of lower layers.

    grading       what a response answers and what it is worth: grader and rewards, standard library only
    config        what an experiment is: typed settings with the paper's values as defaults
    data          upstream files to questions to prompts; duplicates and contamination; the synthetic miniature
    models        model folders: fetch, check, count tokens and parameters
    training      supervised fine-tuning and RLVR with OpenRLHF, DeepSpeed, Ray and vLLM
    evaluation    models to answers, scores, comparisons and claims
    dynamics      stages of training and reward hacking
    report        result files to figures and report.html
    pipeline      before and during a run: preflight checks, resources, plan, status
    cli           the command medrlvr
    runtime       ground layer: files, processes, logs, downloads
"""

__version__ = "0.2.0"
