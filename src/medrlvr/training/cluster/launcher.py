"""A Ray cluster over the nodes of one Slurm job, for as long as a command runs.

    python -m medrlvr.training.cluster.launcher --nodes 2 --gpus 4 --logs FOLDER -- COMMAND ...

Ray's head runs in place, on the first node; one `srun` starts a worker on each other node. COMMAND starts, with
RAY_ADDRESS set, when Ray has told of all nodes and GPUs. However it ends, nothing of it is left on any node.

It runs alike in a batch script and in the job step that Snakemake's Slurm executor makes. That step hides the
allocation (its SLURM_JOB_NODELIST is its own), holds the first node, and passes no signal on: where processes are
tracked by cgroup, Slurm tells the step's own task alone, and that is Snakemake. So the nodes are asked of Slurm, steps
begin with a clean environment, and one of them only listens for the end of the job.
"""

import argparse
import ctypes
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from medrlvr.training.cluster.node import log_path
from medrlvr.training.launchers import short_folder
from medrlvr.training.ports import free_ports

WAIT = 300.0
"""Seconds that nodes and GPUs have to come: on a shared file system Python alone may take one minute of them."""

NO_ALLOCATION, NOT_COMPLETE, NODE_LOST = 90, 91, 92
"""Exit status; otherwise the command's, or 130 and 143 after SIGINT, and SIGTERM or the end of the job."""

_COMMAND_GRACE, _NODES_GRACE = 4.0, 12.0
"""Seconds from SIGTERM to SIGKILL, for the command and then for all nodes together: Slurm's own KillWait is 30. A
process that has pinned a hundred GiB needs some to end."""

_SENTINEL_STARTS = 10.0
"""Seconds in which the sentinel's end means that no step could be started."""

_KEPT = ("SLURM_JOB_ID", "SLURM_CONF", "SLURM_CLUSTER_NAME")

_SENTINEL, _TOLD = "trap 'exit 15' TERM; sleep infinity & wait", 15

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_PR_SET_PDEATHSIG = 1


class ClusterError(Exception):
    """Why there is no cluster, or no longer one."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m medrlvr.training.cluster.launcher")
    parser.add_argument("--nodes", type=int, required=True, help="of the Slurm job")
    parser.add_argument("--gpus", type=int, required=True, help="of each node")
    parser.add_argument("--logs", type=Path, required=True, help="folder for a log of each node")
    parser.add_argument("--wait", type=float, default=WAIT, help="seconds for all nodes and GPUs to come")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)
    try:
        cluster = _Cluster(options.nodes, options.gpus, options.logs, received)
        try:
            cluster.start()
            cluster.wait(options.wait)
            return cluster.run(options.command)
        finally:
            cluster.stop()
    except ClusterError as error:
        print(f"ClusterError: {error}", flush=True)
        return error.status


class _Cluster:
    def __init__(self, nodes: int, gpus: int, logs: Path, received: Sequence[int]) -> None:
        self.job = os.environ.get("SLURM_JOB_ID", "")
        if not self.job:
            raise ClusterError(NO_ALLOCATION, "SLURM_JOB_ID is not set: this runs inside a job of Slurm.")
        self.head, self.workers = find_nodes(self.job, nodes)
        self.gpus, self.received = gpus, received
        self.logs = {node: log_path(logs, self.job, node) for node in (self.head, *self.workers)}
        self.address = ""
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._others: list[subprocess.Popen[bytes]] = []
        self._began = time.monotonic()
        self._step: subprocess.Popen[bytes] | None = None
        logs.mkdir(parents=True, exist_ok=True)
        self._print(f"head {self.head}, workers {' '.join(self.workers) or 'none'}, {gpus} GPU(s) on each")

    def start(self) -> None:
        sentinel = [*srun(self.job, [self.head]), "--gres=none", "sh", "-c", _SENTINEL]
        self._sentinel = _start(sentinel, stderr=subprocess.PIPE)
        self._others.append(self._sentinel)
        (port,) = free_ports(1)
        self.address = f"{address_seen_from(self.workers)}:{port}"
        folder = Path(short_folder(len(f"/ray-{self.job}-1000")), f"ray-{self.job}")
        node = [sys.executable, "-m", "medrlvr.training.cluster.node", "--gpus", str(self.gpus)]
        node += ["--address", self.address, "--folder", str(folder)]
        node += ["--logs", str(self.logs[self.head].parent)]
        self._nodes.append(_start([*node, "--head"]))
        if self.workers:
            self._step = _start([*srun(self.job, self.workers), *node])
            self._nodes.append(self._step)

    def wait(self, seconds: float) -> None:
        """Return when all nodes and GPUs are there."""
        began, count = time.monotonic(), len(self.logs)
        question = [sys.executable, "-m", "medrlvr.training.cluster.node", "--address", self.address]
        question += ["--await-nodes", str(count), "--gpus", str(count * self.gpus), "--seconds", str(seconds)]
        process = _start(question)
        self._others.append(process)
        # A call to a head that does not answer may block for long.
        while time.monotonic() - began < seconds + 30:
            self._check()
            if process.poll() == 0:
                self._print(f"up after {time.monotonic() - began:.0f} s")
                return
            # It ends early only if it loses the head, and then the next `_check` sees a lost node.
            if process.poll() is not None and time.monotonic() - began >= seconds:
                break
            time.sleep(0.1)
        asked = f"{count} node(s) with {self.gpus} GPU(s) each"
        raise ClusterError(
            NOT_COMPLETE, f"{asked}, and not all of them came within {seconds:.0f} s.\n{self._last_lines()}"
        )

    def run(self, command: Sequence[str]) -> int:
        """Return the command's exit status."""
        process = _start(command, environment={"RAY_ADDRESS": self.address})
        try:
            while process.poll() is None:
                self._check()
                time.sleep(0.1)
        finally:
            _stop([(process, process.terminate)], _COMMAND_GRACE)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def stop(self) -> None:
        """End all nodes at once, and what else was started."""
        nodes = [(node, self._end_step if node is self._step else node.terminate) for node in self._nodes]
        _stop(nodes, _NODES_GRACE)
        _stop([(process, process.kill) for process in self._others], _COMMAND_GRACE)

    def _check(self) -> None:
        if self.received:
            raise ClusterError(128 + self.received[0], f"stopped by {signal.Signals(self.received[0]).name}.")
        lost = any(process.poll() is not None for process in self._nodes)
        if lost:
            # At the end of a job the sentinel hears of it when the nodes do.
            with suppress(subprocess.TimeoutExpired):
                self._sentinel.wait(1.0)
        if self._sentinel.poll() is not None:
            if self._sentinel.returncode != _TOLD and time.monotonic() - self._began < _SENTINEL_STARTS:
                assert self._sentinel.stderr is not None
                said = self._sentinel.stderr.read().decode(errors="replace").strip()
                raise ClusterError(NO_ALLOCATION, f"no step can be started in job {self.job}:\n{said}")
            raise ClusterError(
                128 + signal.SIGTERM, f"Slurm ended job {self.job}: it was cancelled, or its time is up."
            )
        if lost:
            raise ClusterError(NODE_LOST, f"a node of Ray ended.\n{self._last_lines()}")

    def _end_step(self) -> None:
        # A signal to srun itself would kill its tasks before they have cleaned up.
        words = self._lines(self.logs[self.workers[0]])[:1] or [""]
        # It prints that the step is invalid, and delivers; nobody waits for a controller that is busy.
        self._others.append(
            _start(["scancel", "--signal=TERM", words[0].removeprefix("step ")], stderr=subprocess.DEVNULL)
        )

    def _last_lines(self) -> str:
        told = {log: self._lines(log)[-4:] or ["(it said nothing)"] for log in self.logs.values()}
        return "\n".join(f"  {log}:\n" + "\n".join(f"    {line[:200]}" for line in last) for log, last in told.items())

    def _lines(self, log: Path) -> list[str]:
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        return [line for line in _COLOUR.sub("", text).splitlines() if line.strip()]

    def _print(self, text: str) -> None:
        print(f"ray cluster of job {self.job}: {text}", flush=True)


def find_nodes(job: str, count: int) -> tuple[str, list[str]]:
    """Return this node and the job's other ones.

    Raises:
        ClusterError: Slurm does not answer, or the job has another number of nodes than `count`.
    """
    try:
        names = _ask("scontrol", "show", "hostnames", _ask("squeue", "-h", "-j", job, "-o", "%N")).split()
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(NO_ALLOCATION, f"Slurm does not tell the nodes of job {job}: {error}") from None
    if len(names) != count:
        raise ClusterError(
            NO_ALLOCATION,
            f"machine.nodes is {count}, job {job} has {len(names)} ({' '.join(names)}). Slurm gives one node instead of"
            " several to a job of one task, as it is with `gpu` or without GPUs: slurm/config.yaml has to ask for gres,"
            " or for as many tasks as nodes.",
        )
    here = os.environ.get("SLURMD_NODENAME", socket.gethostname().partition(".")[0])
    if here not in names:
        raise ClusterError(NO_ALLOCATION, f"this is {here}, none of job {job}'s nodes ({' '.join(names)}).")
    return here, [name for name in names if name != here]


def srun(job: str, nodes: Sequence[str]) -> list[str]:
    """Return the words that start one task on each of `nodes`, also on a node that a step of the job holds already."""
    inherited = [name for name in os.environ if name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SBATCH_"))]
    clean = [word for name in sorted(inherited) if name not in _KEPT for word in ("-u", name)]
    step = ["srun", f"--jobid={job}", "--overlap", "--mpi=none", "--cpu-bind=none", "--export=ALL", "--input=none"]
    step += ["--kill-on-bad-exit=1", "--unbuffered", f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}"]
    return ["env", *clean, *step, "--ntasks-per-node=1", f"--nodelist={','.join(nodes)}"]


def address_seen_from(workers: Sequence[str]) -> str:
    """Return this node's address on the network on which Slurm finds the first of `workers`.

    A node may have several, and one that leads out of the cluster need not be among them.

    Raises:
        ClusterError: Slurm does not tell the worker's address, or it leads nowhere.
    """
    try:
        told = _ask("scontrol", "show", "node", "--oneliner", workers[0]).split()
        other = next(word for word in told if word.startswith("NodeAddr=")).partition("=")[2]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: the system only chooses the way.
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        raise ClusterError(NO_ALLOCATION, f"the way from this node to {workers[0]} is not known: {error}") from None


def _ask(*command: str) -> str:
    # A controller that is down holds its clients for minutes.
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()


def _start(
    command: Sequence[str], environment: Mapping[str, str] | None = None, stderr: int | None = None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stderr=stderr,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(processes: Iterable[tuple[subprocess.Popen[bytes], Callable[[], None]]], grace: float) -> None:
    """Tell all of them, wait for all of them, and kill what is left with all that it started."""
    told = [(process, tell()) for process, tell in processes if process.poll() is None]
    deadline = time.monotonic() + grace
    for process, _ in told:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process, _ in told:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
