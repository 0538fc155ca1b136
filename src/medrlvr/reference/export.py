"""Export a finished run to docs/reference/: settings, fingerprints, updates, graded answers, rollouts; no weights."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from medrlvr.dynamics.version import definitions_version
from medrlvr.reference.fingerprints import fingerprints, world_version
from medrlvr.reference.runs import Part, Run
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet, write_json, write_text

LARGEST_FILE = 4_000_000
"""Bytes of a shipped file."""
LARGEST_FOLDER = 20_000_000
"""Bytes of all of docs/reference/."""

_UNSHIPPED = ("model", "letter_logprobs", "prompt")
"""Columns that another one contains, or that no table of index.md needs."""


def export_run(run: Run) -> None:
    """Write the folder of a finished run. It appears only when it is complete.

    Raises:
        UserError: a file of the run is missing, or a shipped file would be larger than LARGEST_FILE.
    """
    missing = [str(file) for file in run.targets if not file.is_file()]
    if missing:
        raise UserError(f"{run.part.name}, {run.model}: not finished, {', '.join(missing)} missing. Run it first.")
    temporary = run.folder.with_name(f".{run.folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    for name, file in run.tables.items():
        table = read_parquet(file).drop(columns=list(_UNSHIPPED), errors="ignore")
        if name == "updates":
            write_text(temporary / "updates.csv", table.to_csv(index=False, float_format="%.6g"))
        else:
            table.to_parquet(temporary / f"{name}.parquet", index=False, compression="zstd", compression_level=19)
    if run.stages:
        shutil.copyfile(run.stages, temporary / "stages.json")
    write_json(temporary / "run.json", run_record(run))
    for file in temporary.iterdir():
        if file.stat().st_size > LARGEST_FILE:
            raise UserError(f"{file}: {file.stat().st_size:,} bytes, more than the {LARGEST_FILE:,} that are shipped.")
    shutil.rmtree(run.folder, ignore_errors=True)
    temporary.rename(run.folder)


def run_record(run: Run) -> dict[str, Any]:
    """Return the record of a run: what it is, the commit, the fingerprints, and the settings of its arm."""
    arm = run.settings
    return {
        "experiment": run.part.name,
        "arm": run.arm,
        "seed": run.seed,
        "commit": _commit(),
        "fingerprints": fingerprints(run.part.experiment, run.part.results / "models/base", arm),
        "definitions": definitions_version(),
        "settings": arm.model_dump(mode="json", exclude={"seeds"}) if arm else None,
    }


def export_questions(part: Part) -> None:
    """Write the test questions with their clusters and the world's fingerprint, and the settings of the experiment."""
    tables = [
        read_parquet(part.results / f"data/benchmarks/{name}.parquet").assign(benchmark=name)
        for name in part.experiment.eval_sets()
    ]
    clusters = read_parquet(part.results / "data/clusters.parquet")[["question_id", "cluster", "repeats"]]
    questions = pd.concat(tables, ignore_index=True)[["benchmark", "question_id", "stem", "options", "gold"]]
    part.shipped.mkdir(parents=True, exist_ok=True)
    joined = questions.merge(clusters, on="question_id", how="left").assign(world=world_version(part.experiment))
    joined.to_parquet(part.shipped / "questions.parquet", index=False, compression="zstd", compression_level=19)
    write_text(part.shipped / "config.yaml", yaml.safe_dump(part.experiment.overlay(), sort_keys=False))


def shipped_bytes(folder: Path) -> int:
    """Return the size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _commit() -> str:
    """Return the commit, with "-dirty" after local changes outside docs; "unknown" outside a git repository.

    The reference itself changes documents while it runs.
    """
    commit = _git("describe", "--always", "--abbrev=12")
    changed = _git("diff", "--name-only", "HEAD", "--", ".", ":!docs", ":!README.md")
    return f"{commit}-dirty" if changed else commit or "unknown"


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=False, capture_output=True, text=True).stdout.strip()
