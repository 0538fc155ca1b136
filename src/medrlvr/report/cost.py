"""Cost of an experiment, from the benchmark tables that Snakemake writes for every job."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medrlvr.runtime.benchmark import COLUMNS, read_benchmark

_PHASES = {
    "data": "data and prompts",
    "prompts": "data and prompts",
    "models": "data and prompts",
    "development": "answers and scores",
    "eval": "answers and scores",
    "checkpoint_eval": "answers and scores of the checkpoints",
    "controls": "controls",
    "compare": "report",
    "dynamics": "report",
    "figures": "report",
    "report": "report",
}
_ASKING = {
    "generate_answers",
    "generate_selected",
    "generate_checkpoint_answers",
    "probe_checkpoints",
    "sample_answers",
    "sample_training",
    "answer_formats",
}


def read_jobs(
    benchmarks: Path, *, training_gpus: Mapping[str, int] | None = None, asking_gpus: int = 0
) -> pd.DataFrame:
    """Return one row per finished job.

    Args:
        benchmarks: folder of the tables.
        training_gpus: arm -> number of GPUs of its training jobs, on all nodes.
        asking_gpus: number of GPUs of a job that generates answers.

    Returns:
        phase; job, the same for all seeds; seconds (wall time since the last start); memory (peak in GiB, with child
        processes) and cores (mean), both missing if the job was too short to measure; gpu_hours. Of a job that was
        killed while its table was written, all are missing.
    """
    rows = []
    for path in sorted(benchmarks.rglob("*.tsv")):
        parts = path.relative_to(benchmarks).with_suffix("").parts
        chosen = parts[0] == "models" and len(parts) > 2
        trained = parts[0] == "checkpoints"
        measured = read_benchmark(path) or dict.fromkeys(COLUMNS, math.nan)
        asks = parts[-1] in _ASKING or parts[0] == "development"
        gpus = (training_gpus or {}).get(parts[1], 0) if trained else asking_gpus if asks else 0
        rows.append(
            {
                "phase": f"training {parts[1]}" if trained else _PHASES.get("eval" if chosen else parts[0], parts[0]),
                "job": "/".join(part for part in parts if not part.startswith("seed")),
                "seconds": measured["s"],
                "memory": measured["max_rss"] / 1024,
                "cores": measured["mean_load"] / 100,
                "gpu_hours": gpus * measured["s"] / 3600,
            }
        )
    return pd.DataFrame(rows)


def phase_seconds(jobs: pd.DataFrame) -> "pd.Series[float]":
    """Return the wall time of every phase for one training seed, in seconds; with several seeds, the mean."""
    return jobs.groupby(["phase", "job"])["seconds"].mean().groupby("phase").sum()


def phase_costs(jobs: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each phase, the longest first: jobs, seconds, longest, gpu_hours, memory and cores (None: unknown)."""
    weighted = jobs.assign(work=jobs["cores"] * jobs["seconds"], measured=jobs["seconds"].where(jobs["cores"].notna()))
    groups = weighted.groupby("phase")
    table = groups.agg(
        jobs=("job", "size"),
        seconds=("seconds", "sum"),
        longest=("seconds", "max"),
        gpu_hours=("gpu_hours", "sum"),
        memory=("memory", "max"),
        work=("work", "sum"),
        measured=("measured", "sum"),
    )
    table["cores"] = table.pop("work") / table.pop("measured").replace(0, math.nan)
    table = table.sort_values("seconds", ascending=False).reset_index()
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]
