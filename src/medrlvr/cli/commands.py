"""The list of commands."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One command: its module in `medrlvr.cli`, its arguments, its purpose, and an example."""

    module: str
    synopsis: str
    purpose: str
    example: str


COMMANDS = {
    "demo": Entry(
        "run",
        "[--cores N] [-- SNAKEMAKE ...]",
        "run config/miniature.yaml: a small model on synthetic data, on a CPU",
        "medrlvr demo --cores 2",
    ),
    "run": Entry(
        "run",
        "[OVERLAY ...] [--profile P] [--cores N] [--until RULE] [-n] [-- SNAKEMAKE ...]",
        "run an experiment with Snakemake; an interrupted run resumes",
        "medrlvr run config/miniature.yaml --until split_questions",
    ),
    "plan": Entry(
        "plan",
        "[OVERLAY ...] [--profile P]",
        "print the jobs of a run, their reasons, GPU-hours, time, disk and GPU memory; start nothing",
        "medrlvr plan config/presets/a100_80gb_x8.yaml --profile slurm",
    ),
    "status": Entry(
        "status",
        "[OVERLAY ...]",
        "print the progress of every training run of an experiment",
        "medrlvr status config/miniature.yaml",
    ),
    "report": Entry(
        "report",
        "RESULTS [--rebuild]",
        "print the path of an experiment's report",
        "medrlvr report results/miniature --rebuild",
    ),
    "compare": Entry(
        "report",
        "RESULTS [RESULTS ...]",
        "write one report on several finished experiments: results/comparison.html",
        "medrlvr compare results/miniature results/my_reward",
    ),
    "index": Entry(
        "index",
        "",
        "write the index of all experiments: results/index.html",
        "medrlvr index",
    ),
    "ask": Entry(
        "ask",
        "MODEL [--question ID|FILE] [--mode MODE]",
        "prompt a trained model with one question and grade its response",
        "medrlvr ask results/miniature/models/rlvr/seed1 --mode direct",
    ),
    "grade": Entry(
        "grade",
        "[FILE|-] [--format tagged|bare] [--reward SPEC] [--out FILE] [--processes N]"
        " [--response KEY] [--options KEY] [--gold KEY] [--truncated KEY]",
        "grade responses in JSON lines, and print a summary",
        "medrlvr grade responses.jsonl --reward paper",
    ),
    "config": Entry(
        "config",
        "show|check|write [OVERLAY ...]",
        "print the merged settings, check them, or write the generated files",
        "medrlvr config check config/miniature.yaml",
    ),
}
"""Command -> its module and its help."""
