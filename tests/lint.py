"""Check the workflow with Snakemake's linter, except for one lint that does not fit: python tests/lint.py

The rules name no conda environment. Conda cannot install the packages of the locks, which need pip's `--no-deps` and a
torch from another index. `make setup` installs them into .venv, for all rules.
"""

import re
import subprocess
import sys

EXEMPT = "Specify a conda environment or container for each rule."

if __name__ == "__main__":
    command = [sys.executable, "-m", "snakemake", "--lint"]
    printed = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    titles = re.findall(r"^    \* (.*):$", printed, re.MULTILINE)
    if EXEMPT not in titles:
        sys.exit(f"Snakemake's linter did not run, or it changed:\n{printed}")
    other = set(titles) - {EXEMPT}
    if other:
        sys.exit(f"{printed}\nSnakemake's linter: {' '.join(sorted(other))} (search the text above for it)")
