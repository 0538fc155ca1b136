"""Measure `make demo` from a fresh clone and after set-up, and write README's sentence about it.

make benchmark-demo. It clones the last commit and runs it. The machine must be idle for a quarter of an hour.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from medrlvr.reference.markdown import splice
from medrlvr.report.cost import phase_seconds, read_jobs
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text
from medrlvr.runtime.progress import duration

RESULTS = Path("results/miniature")
IDLE = 0.3
"""Maximum load average of the last minute before a measurement."""


def seconds(command: list[str], folder: Path) -> float:
    """Run a command and return its wall-clock time in seconds; it must succeed."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def require_idle_and_committed() -> None:
    """Raise an error if files differ from the last commit, which is measured, or if the machine is busy."""
    changed = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, check=True).stdout
    if changed:
        raise UserError(
            f"The last commit is measured, but these files differ from it. Commit or stash them:\n{changed}"
        )
    if (load := os.getloadavg()[0]) > IDLE:
        raise UserError(f"The machine is busy: its load is {load:.1f}. Wait until it is below {IDLE}.")


def main() -> None:
    require_idle_and_committed()
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        clone = Path(name, "clone")
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        fresh = seconds(["make", "demo"], clone)
        shutil.rmtree(clone / RESULTS)
        again = seconds(["make", "demo"], clone)
        stages = phase_seconds(read_jobs(clone / RESULTS / "benchmarks"))
        alone = seconds(["sh", str(RESULTS / "models/rlvr/seed1/command.sh")], clone)
    rlvr, sft = stages["training rlvr"], stages["training sft"]
    sentence = (
        f"On {os.cpu_count()} idle cores, `make demo` needs {duration(fresh)} from a fresh clone and {duration(again)}"
        f" after set-up: RLVR {rlvr:.0f} s, SFT {sft:.0f} s, everything else {again - rlvr - sft:.0f} s. The step"
        f" `train_rlvr` needs {rlvr / alone:.2f} times as long as its `command.sh` alone."
    )
    print(sentence)
    readme = Path("README.md")
    write_text(readme, splice(readme, "times", sentence))


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
