"""Write assets/gpu_check/curve.tsv: the mean rewards of the check's training run on a CPU, for several seeds.

The runs compute in bfloat16, as on a GPU; in float32 the miniature learns faster (docs/gpu.md).

make gpu-curve
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

from medrlvr.config.load import read_overlays
from medrlvr.gpu_check.training_row import curve_key, training_run
from medrlvr.runtime.environment import CPU_FORMAT
from medrlvr.runtime.files import read_parquet, write_text
from medrlvr.training.rlvr import train_rlvr

SEEDS = range(1, 9)
OVERLAYS = ["config/miniature.yaml", "config/gpu_check.yaml"]
RESULTS = Path("results/gpu_check")
CURVE = Path("assets/gpu_check/curve.tsv")


def main() -> None:
    """Make the prompts with the workflow, train with each seed, and write the table."""
    prompts = RESULTS / "prompts/rlvr.jsonl"
    targets = [str(prompts), str(RESULTS / "models/base")]
    subprocess.run([sys.executable, "-m", "medrlvr.cli.main", "run", *OVERLAYS, "--", *targets], check=True)
    os.environ[CPU_FORMAT] = "bfloat16"
    experiment, folder, tables = read_overlays(OVERLAYS), RESULTS / "curve", []
    for seed in SEEDS:
        run = training_run(experiment, RESULTS / "models/base", prompts, folder / str(seed), seed)
        (folder / str(seed)).mkdir(parents=True, exist_ok=True)
        if not run.metrics_table.is_file():
            train_rlvr(run, print)
        tables.append(read_parquet(run.metrics_table)[["update", "reward"]].assign(seed=seed))
    table = pd.concat(tables)[["seed", "update", "reward"]]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    head = f"# key: {curve_key(run)}\n# commit: {commit}\n"
    write_text(CURVE, head + table.to_csv(sep="\t", index=False, float_format="%.4f"))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
