"""The program that runs one vLLM worker on each GPU, or on each group of GPUs.

`python -m medrlvr.evaluation.worker_group --workers 4 --split 1 COMMAND...` starts the command four times. The workers
divide the shards of answers among themselves: each takes the next one that no other has taken. Every line of a worker
is printed with its number. If a worker fails, the others are ended.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil


def group_command(command: Sequence[str], workers: int, split: int) -> list[str]:
    """Return the command that runs `workers` workers on `split` GPUs each; a single worker needs no group."""
    if workers == 1:
        return list(command)
    program = [sys.executable, "-m", "medrlvr.evaluation.worker_group"]
    return [*program, "--workers", str(workers), "--split", str(split), *command]


def claim(claims: Path | None, answers: Path, shard: str) -> bool:
    """Return whether this worker generates a shard: the first worker that asks does.

    Args:
        claims: folder that the workers of a group share; None for a single worker, which generates every shard.
        answers: folder of the shard's answers.
    """
    if claims is None:
        return True
    with suppress(FileExistsError):
        (claims / f"{answers.name}-{shard}").touch(exist_ok=False)
        return True
    return False


def device_groups(visible: str | None, workers: int, split: int) -> list[str]:
    """Return the value of CUDA_VISIBLE_DEVICES for each worker.

    Args:
        visible: value of that variable for this process; None if it is not set, and all GPUs are visible.

    Raises:
        ValueError: fewer GPUs are visible than one worker needs. If they suffice for fewer workers, fewer are returned.
    """
    names = [str(number) for number in range(workers * split)] if visible is None else visible.split(",")
    names = [name for name in names if name]
    groups = [",".join(names[start : start + split]) for start in range(0, len(names) - split + 1, split)]
    if not groups:
        raise ValueError(f"CUDA_VISIBLE_DEVICES is {visible!r}, but a worker needs {split} GPU(s)")
    return groups[:workers]


def main(arguments: Sequence[str]) -> None:
    """Run the workers until all have ended, or one has failed."""
    parser = argparse.ArgumentParser(
        prog="python -m medrlvr.evaluation.worker_group",
        description="Run a vLLM worker several times, each on GPUs of its own.",
    )
    parser.add_argument("--workers", type=int, required=True, help="number of workers")
    parser.add_argument("--split", type=int, required=True, help="number of GPUs of each worker")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the worker's command")
    options = parser.parse_args(arguments)
    groups = device_groups(os.environ.get("CUDA_VISIBLE_DEVICES"), options.workers, options.split)
    with TemporaryDirectory(prefix="claims-") as claims:
        workers = [_start([*options.command, "--claims", claims], devices) for devices in groups]
        readers = [_print_lines(number, worker) for number, worker in enumerate(workers, 1)]
        failed = _wait(workers)
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.kill()
        for reader in readers:
            reader.join()
    if failed is not None:
        sys.exit(
            f"WorkerError: worker {failed + 1} of {len(workers)} (GPU {groups[failed]}) ended with status"
            f" {workers[failed].returncode}, so the others were ended."
        )


def _start(command: Sequence[str], devices: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": devices},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _print_lines(number: int, worker: subprocess.Popen[str]) -> threading.Thread:
    """Print every line of a worker, in a thread that ends with its output."""

    def each_line() -> None:
        assert worker.stdout is not None
        for line in worker.stdout:
            # One call, so that no other thread prints within the line.
            sys.stdout.write(f"worker {number}: {line.rstrip()}\n")
            sys.stdout.flush()

    thread = threading.Thread(target=each_line, daemon=True)
    thread.start()
    return thread


def _wait(workers: Sequence[subprocess.Popen[str]]) -> int | None:
    """Wait until all workers have ended, or one has failed; return the index of the failed one, or None."""
    while True:
        codes = [worker.poll() for worker in workers]
        failed = next((index for index, code in enumerate(codes) if code), None)
        if failed is not None or None not in codes:
            return failed
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1:])
