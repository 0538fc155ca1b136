"""An experiment that tests interrupt: start it, wait for a line, find its processes, and see what is left of it.

python tests/faults.py [--kills N] [--seed S]    N kills at random moments of a whole run, for docs/faults.json
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from pipeline import copy_of_the_commit, processes_in

from medrlvr.runtime.files import read_parquet

OVERLAYS = ["--configfile", "config/miniature.yaml", "tests/faults.yaml"]
RESULTS = Path("results/faults")
ROLLOUTS = RESULTS / "rollouts/rlvr/seed1/rollouts.parquet"
UPDATES = 12
COUNTS = Path("docs/faults.json")


def _actor(process: psutil.Process) -> str:
    """Return the name of the Ray actor that a process is, as the process wrote it into its log, or ""."""
    server = next(one for one in process.parents() if "gcs_server" in [child.name() for child in one.children()])
    gcs = next(child for child in server.children() if child.name() == "gcs_server")
    logs = Path(next(word for word in gcs.cmdline() if word.startswith("--log_dir=")).removeprefix("--log_dir="))
    text = "".join(file.read_text(errors="replace") for file in logs.glob(f"worker-*-{process.pid}.out"))
    return text.partition(":actor_name:")[2].split("\n")[0]


PARTS: dict[str, Callable[[psutil.Process], bool]] = {
    "Snakemake": lambda process: "snakemake" in process.cmdline()[1:3],
    "the step": lambda process: any("/scripts/" in word for word in process.cmdline()[1:2]),
    "the guard": lambda process: any(word.endswith("guard.py") for word in process.cmdline()[1:3]),
    "the driver": lambda process: process.name() == "driver",
    "Ray's raylet": lambda process: process.name() == "raylet",
    "the policy's actor": lambda process: _actor(process) == "PolicyModelActor",
    "the vLLM engine": lambda process: _actor(process) == "RolloutRayActor",
}
"""Process of a run -> whether a process is it."""


@dataclass
class Run:
    """One start of the command, as a shell starts it.

    Attributes:
        folder: the clone.
        words: further arguments of Snakemake.
        printed: all lines so far.
    """

    folder: Path
    words: tuple[str, ...] = ()
    printed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the command."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDRLVR_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", *OVERLAYS, *self.words],
            cwd=self.folder,
            env={name: value for name, value in environment.items() if name != "PYTHONPATH"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def until(self, text: str) -> "Run":
        """Read lines up to one with a text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.rstrip("\n"))
            if text in line:
                return self
        raise AssertionError("\n".join([f"{text!r} was not printed:", *self.printed[-30:]]))

    def end(self) -> str:
        """Read to the end and return all that was printed."""
        self.printed += self.process.communicate(timeout=600)[0].splitlines()
        return "\n".join(self.printed)

    def part(self, name: str) -> psutil.Process:
        """Return one of the run's processes; see `PARTS`."""
        family = [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]
        for process in family:
            with suppress(psutil.Error, StopIteration):
                if PARTS[name](process):
                    return process
        raise LookupError(name)


def leftovers(folder: Path, shared: set[str]) -> list[str]:
    """Return the processes that work in a folder, and new shared-memory files, after at most 20 seconds."""
    deadline = time.monotonic() + 20
    while True:
        found = [f"process {process.pid}, {process.name()}" for process in processes_in(folder)]
        found += sorted(set(os.listdir("/dev/shm")) - shared)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.5)


def wrong_in(folder: Path) -> list[str]:
    """Return what is wrong with the finished training of an experiment: updates, prompts and metrics."""
    rollouts = read_parquet(folder / ROLLOUTS)
    metrics = read_parquet(folder / ROLLOUTS.with_name("trainer.parquet"))
    plan = {update: 2 * (16 if update % 2 else 8) for update in range(1, UPDATES + 1)}
    found = []
    if rollouts.groupby("update").size().to_dict() != plan:
        found.append(f"responses by update: {rollouts.groupby('update').size().to_dict()}")
    for first in range(1, UPDATES, 2):
        episode = rollouts[rollouts["update"].isin([first, first + 1])]
        if set(episode.groupby("question_id").size()) != {2} or episode["question_id"].nunique() != 24:
            found.append(f"the episode of update {first} does not have every question twice")
    if metrics["update"].tolist() != [*range(1, UPDATES + 1)]:
        found.append(f"metrics of updates {metrics['update'].tolist()}")
    if not metrics.to_numpy(dtype=float).__abs__().max() < float("inf"):
        found.append("a metric is not finite")
    return found


def kill_at_random(folder: Path, draw: random.Random, seconds: float, in_training: bool) -> str | None:
    """Start the experiment from nothing, kill one of its processes, start it again, and return what was killed.

    Returns None if the run had ended before the moment that was drawn.

    Args:
        seconds: duration of an undisturbed run.
        in_training: whether the kill is between two updates of RLVR, and not at any moment of the run.

    Raises:
        AssertionError: the second run failed, or its results are wrong.
    """
    shutil.rmtree(folder / "results/faults", ignore_errors=True)
    shared = set(os.listdir("/dev/shm"))
    run = Run(folder)
    if in_training:
        update, moment = draw.randint(1, UPDATES - 1), draw.uniform(0, 2)
        run.until(f"rlvr, seed 1: update {update} of {UPDATES}")
        when = f"{moment:.1f} s after update {update}"
    else:
        moment = draw.uniform(2, seconds)
        when = f"{moment:.1f} s after the start"
    reader = _reading(run)
    time.sleep(moment)
    names = list(PARTS)
    draw.shuffle(names)
    found = {name: process for name in names if (process := _found(run, name)) is not None}
    if not found:
        reader()
        return None
    victim, process = next(iter(found.items()))
    try:
        process.kill()
    except psutil.NoSuchProcess:
        reader()
        return None
    told = f"{victim}, {when}"
    print(f"  kill -9 of {told}", flush=True)
    run.process.wait(300)
    reader()
    again = Run(folder)
    text = again.end()
    assert again.process.returncode == 0, f"{told}:\n{text[-3000:]}"
    assert not (wrong := wrong_in(folder)), f"{told}: {wrong}"
    assert not (left := leftovers(folder, shared)), f"{told}: left behind: {left}"
    return told


def _found(run: Run, name: str) -> psutil.Process | None:
    with suppress(LookupError, psutil.Error):
        return run.part(name)
    return None


def _reading(run: Run) -> Callable[[], None]:
    import threading

    thread = threading.Thread(target=run.end, daemon=True)
    thread.start()
    return lambda: thread.join(60)


def data_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all data and prompts of the experiment, by path."""
    files = (path for part in ("data", "prompts") for path in (folder / RESULTS / part).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if not path.name.startswith(".")}


def main() -> None:
    """Kill runs at random moments and write the counts."""
    parser = argparse.ArgumentParser(description=main.__doc__, allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=20, help="number of kills (default: 20)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="seed of the moments; default: the time")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    print(f"{options.kills} kills with seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="medrlvr-faults-") as temporary:
        folder = copy_of_the_commit(Path(temporary))
        began = time.monotonic()
        undisturbed = Run(folder)
        text = undisturbed.end()
        assert undisturbed.process.returncode == 0, text[-3000:]
        seconds, data = time.monotonic() - began, data_of(folder)
        print(f"an undisturbed run needs {seconds:.0f} s", flush=True)
        killed, survived = [], 0
        while len(killed) < options.kills:
            print(f"kill {len(killed) + 1} of {options.kills}", flush=True)
            try:
                told = kill_at_random(folder, draw, seconds, in_training=len(killed) % 2 == 1)
                if told is None:
                    continue
                assert data_of(folder) == data, "the data differ from those of the undisturbed run"
                survived += 1
            except AssertionError as error:
                told = str(error).partition(":")[0]
                print(f"FAILED: {error}", flush=True)
            killed.append(told)
            counts = {"tried": len(killed), "survived": survived, "seed": options.seed, "commit": commit}
            COUNTS.write_text(json.dumps({**counts, "killed": killed}, indent=2) + "\n", encoding="utf-8")
    print(f"{survived} of {len(killed)} kills survived; written: {COUNTS}")
    sys.exit(survived < len(killed))


if __name__ == "__main__":
    main()
