"""Python programs in forks of one process that has imported the libraries they share.

A dry run of Snakemake computes for half a second and imports for three. The forks import once. Each is a process of its
own with its own folder, environment and output, and imports this project's code from the copy that it works on.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_PRELOADED = (
    "snakemake.cli",
    "snakemake.report",
    "snakemake.scheduling.milp",
    "snakemake_executor_plugin_slurm",
    "snakemake_logger_plugin_rich",
    "huggingface_hub._snapshot_download",
    "huggingface_hub.file_download",
    "httpx",
    "jinja2",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "ruptures",
    "scipy.stats",
    "statsmodels.api",
    "tokenizers",
)
"""Libraries of others only: a test may change this project's code before it starts a program."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([*_PRELOADED])


def python(*words: str, cwd: Path = Path(), env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run what `python WORDS` would run, and return its exit status and output.

    Args:
        words: a script, or `-m` and a module, then the arguments.
        cwd: folder in which the program runs.
        env: its whole environment; this process's by default.
    """
    environment = dict(os.environ if env is None else env)
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        process = _FORKS.Process(target=_become, args=(words, str(cwd.resolve()), environment, streams))
        process.start()
        try:
            process.join()
        finally:
            process.kill()
        stdout, stderr = (stream.read_text(encoding="utf-8", errors="replace") for stream in streams)
    assert process.exitcode is not None
    return subprocess.CompletedProcess(["python", *words], process.exitcode, stdout, stderr)


def _become(words: tuple[str, ...], cwd: str, environment: Mapping[str, str], streams: list[Path]) -> None:
    for number, stream in enumerate(streams, 1):
        file = os.open(stream, os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    folders = [folder for folder in environment.get("PYTHONPATH", "").split(os.pathsep) if folder]
    known = [folder for folder in sys.path if folder.startswith(sys.prefix) or folder.startswith(sys.base_prefix)]
    try:
        if words[0] == "-m":
            sys.argv, sys.path = [words[1], *words[2:]], [cwd, *folders, *known]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv, sys.path = [*words], [str(Path(words[0]).parent.resolve()), *folders, *known]
            runpy.run_path(words[0], run_name="__main__")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
