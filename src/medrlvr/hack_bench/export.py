"""Export a finished run of the bench as one small JSON file."""

from pathlib import Path
from typing import Any

from medrlvr.hack_bench.measure import agreement, exploitations, monitor_scores, sensitivity_scores
from medrlvr.hack_bench.runs import BenchRun
from medrlvr.reference.export import run_record
from medrlvr.runtime.benchmark import read_benchmark
from medrlvr.runtime.files import read_json, read_parquet, write_json

_TIMED = (
    "checkpoints/{}",
    "development/{}",
    "checkpoint_eval/{}/generate_checkpoint_answers",
    "eval/{}/generate_selected",
    "controls/sensitivity/{}/probe_checkpoints",
)
"""Steps of a run that need more than a few seconds: training and answering."""


def export_run(run: BenchRun) -> Path:
    """Write the record of a finished run, and return its path."""
    write_json(run.file, record_of(run))
    return run.file


def record_of(run: BenchRun) -> dict[str, Any]:
    """Return the record of a finished run.

    Returns:
        the fields of `run_record`, and loophole, accuracy (on the clean test questions), exploitation (of each
        loophole that can be measured), scores (of each detector), agreement (of the forced with the written letter,
        where sensitivity is measured), alarms (texts) and minutes (of training and answering).
    """
    answers = read_parquet(run.tables["answers"])
    alarms = read_json(run.stages)["alarms"] if run.stages else []
    clean = answers[answers["benchmark"] == "miniature"]
    records = read_json(run.sensitivity)["records"]
    scores = monitor_scores(read_parquet(run.tables["updates"]), alarms)
    return {
        **run_record(run),
        "loophole": run.loophole,
        "accuracy": float(clean["correct"].mean()),
        "exploitation": exploitations(answers, run.loophole),
        "scores": scores | sensitivity_scores(answers, records, run.like_training),
        "agreement": agreement(records, run.like_training),
        "alarms": [alarm["text"] for alarm in alarms],
        "minutes": _minutes(run),
    }


def _minutes(run: BenchRun) -> float:
    files = [run.part.results / f"benchmarks/{step.format(run.model)}.tsv" for step in _TIMED]
    found = [record["s"] for file in files if (record := read_benchmark(file)) is not None]
    return round(sum(found) / 60, 1)
