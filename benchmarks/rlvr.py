"""The wall-clock time of `train_rlvr` on the miniature, and of its own command.sh started alone.

Before: snakemake --cores 2 --configfile config/miniature.yaml -- results/miniature/prompts/rlvr.jsonl
results/miniature/base.json. Both run in turn, because other work on the machine changes their times.
"""

import argparse
import os
import subprocess
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import yaml
from snakemake.utils import update_config

from medrlvr.config import load
from medrlvr.training.rlvr import train_rlvr

RESULTS = Path("results/miniature")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=10, help="of 11 updates each")
    parser.add_argument("--pairs", type=int, default=1, help="how often both are measured")
    options = parser.parse_args()
    values = yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8"))
    update_config(values, yaml.safe_load(Path("config/miniature.yaml").read_text(encoding="utf-8")))
    settings = load(values)
    arm = settings.arms["rlvr"].model_copy(update={"episodes": options.episodes})
    for _ in range(options.pairs):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            begun = time.monotonic()
            with open(os.devnull, "w") as nothing, redirect_stdout(nothing):
                train_rlvr(
                    arm,
                    settings.machine,
                    1,
                    name="benchmark",
                    stage="rlvr, seed 1",
                    base=RESULTS / "models/base",
                    prompts=RESULTS / "prompts/rlvr.jsonl",
                    models=folder / "models",
                    rollouts_table=folder / "rollouts.parquet",
                    metrics_table=folder / "trainer.parquet",
                    events=folder / "events",
                    node_logs=folder / "nodes",
                    state=folder / "state",
                    say=lambda line: None,
                )
            step = time.monotonic() - begun
            command = next((folder / "models").glob("update*/command.sh"))
            begun = time.monotonic()
            # In a session of its own, as in `train_rlvr`: Linux shares processors between sessions.
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
            subprocess.run(["sh", command], check=True, **quiet)
            alone = time.monotonic() - begun
            print(f"train_rlvr {step:.1f} s, its command.sh alone {alone:.1f} s, ratio {step / alone:.3f}", flush=True)


if __name__ == "__main__":
    main()
