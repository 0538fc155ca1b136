"""Run a command in a Ray cluster on the nodes of one Slurm job.

    python -m medrlvr.training.cluster.launcher --nodes 2 --gpus 4 --logs FOLDER -- COMMAND ...

The launcher starts Ray's head as a child process on the first node; one `srun` starts a worker on each other node.
COMMAND starts, with RAY_ADDRESS set, when Ray reports all nodes and GPUs. However it ends, no process or file of the
cluster is left on any node.

The launcher works the same in a batch script and in the job step that Snakemake's Slurm executor creates. That step
hides the allocation (its SLURM_JOB_NODELIST is its own), occupies the first node, and forwards no signals: if processes
are tracked by cgroup, Slurm signals only the step's own task, which is Snakemake. The launcher therefore gets the nodes
from Slurm, starts steps with a clean environment, and uses one step only to detect the end of the job.
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
"""Seconds to wait for all nodes and GPUs; on a shared file system, starting Python alone may take one minute."""

NO_ALLOCATION, NOT_COMPLETE, NODE_LOST = 90, 91, 92
"""Exit statuses; otherwise the command's, 130 after SIGINT, or 143 after SIGTERM or the end of the job."""

_COMMAND_GRACE, _NODES_GRACE = 4.0, 12.0
"""Seconds from SIGTERM to SIGKILL, for the command and then for all nodes together; Slurm's own KillWait is 30. A
process that has pinned a hundred GiB needs some seconds to end."""

_SENTINEL_STARTS = 10.0
"""If the sentinel ends within these first seconds, no step could be started."""

_KEPT = ("SLURM_JOB_ID", "SLURM_CONF", "SLURM_CLUSTER_NAME")

_SENTINEL, _TOLD = "trap 'exit 15' TERM; sleep infinity & wait", 15

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_PR_SET_PDEATHSIG = 1


class ClusterError(Exception):
    """The cluster could not be started, or it ended."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in a cluster and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m medrlvr.training.cluster.launcher")
    parser.add_argument("--nodes", type=int, required=True, help="number of nodes of the Slurm job")
    parser.add_argument("--gpus", type=int, required=True, help="number of GPUs of each node")
    parser.add_argument("--logs", type=Path, required=True, help="folder for one log per node")
    parser.add_argument("--wait", type=float, default=WAIT, help="seconds to wait for all nodes and GPUs")
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
            raise ClusterError(NO_ALLOCATION, "SLURM_JOB_ID is not set. Run this command inside a Slurm job.")
        self.head, self.workers = find_nodes(self.job, nodes)
        self.gpus, self.received = gpus, received
        self.logs = {node: log_path(logs, self.job, node) for node in (self.head, *self.workers)}
        self.address = ""
        self._nodes: list[subprocess.Popen[bytes]] = []
        self._others: list[subprocess.Popen[bytes]] = []
        self._began = time.monotonic()
        self._step: subprocess.Popen[bytes] | None = None
        logs.mkdir(parents=True, exist_ok=True)
        self._print(f"head {self.head}, workers {' '.join(self.workers) or 'none'}, {gpus} GPU(s) per node")

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
        """Return when all nodes and GPUs are available."""
        began, count = time.monotonic(), len(self.logs)
        question = [sys.executable, "-m", "medrlvr.training.cluster.node", "--address", self.address]
        question += ["--await-nodes", str(count), "--gpus", str(count * self.gpus), "--seconds", str(seconds)]
        process = _start(question)
        self._others.append(process)
        # A call to a head that does not answer may block for a long time.
        while time.monotonic() - began < seconds + 30:
            self._check()
            if process.poll() == 0:
                self._print(f"ready after {time.monotonic() - began:.0f} s")
                return
            # It ends early only if it loses the head; the next `_check` then detects a lost node.
            if process.poll() is not None and time.monotonic() - began >= seconds:
                break
            time.sleep(0.1)
        asked = f"{count} node(s) with {self.gpus} GPU(s) each were requested"
        raise ClusterError(
            NOT_COMPLETE, f"{asked}, but not all of them came within {seconds:.0f} s.\n{self._last_lines()}"
        )

    def run(self, command: Sequence[str]) -> int:
        """Run the command and return its exit status."""
        process = _start(command, environment={"RAY_ADDRESS": self.address})
        try:
            while process.poll() is None:
                self._check()
                time.sleep(0.1)
        finally:
            _stop([(process, process.terminate)], _COMMAND_GRACE)
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def stop(self) -> None:
        """End all nodes at the same time, then all other processes that were started."""
        nodes = [(node, self._end_step if node is self._step else node.terminate) for node in self._nodes]
        _stop(nodes, _NODES_GRACE)
        _stop([(process, process.kill) for process in self._others], _COMMAND_GRACE)

    def _check(self) -> None:
        if self.received:
            raise ClusterError(128 + self.received[0], f"stopped by {signal.Signals(self.received[0]).name}.")
        lost = any(process.poll() is not None for process in self._nodes)
        if lost:
            # At the end of a job, Slurm signals the sentinel at the same time as the nodes.
            with suppress(subprocess.TimeoutExpired):
                self._sentinel.wait(1.0)
        if self._sentinel.poll() is not None:
            if self._sentinel.returncode != _TOLD and time.monotonic() - self._began < _SENTINEL_STARTS:
                assert self._sentinel.stderr is not None
                said = self._sentinel.stderr.read().decode(errors="replace").strip()
                raise ClusterError(NO_ALLOCATION, f"no step can be started in job {self.job}:\n{said}")
            raise ClusterError(
                128 + signal.SIGTERM, f"Slurm ended job {self.job}: it was cancelled or reached its time limit."
            )
        if lost:
            raise ClusterError(NODE_LOST, f"a node of Ray ended.\n{self._last_lines()}")

    def _end_step(self) -> None:
        # A signal to srun itself would kill its tasks before they can clean up.
        words = self._lines(self.logs[self.workers[0]])[:1] or [""]
        # scancel prints that the step is invalid, but delivers the signal. It may wait for a busy controller.
        self._others.append(
            _start(["scancel", "--signal=TERM", words[0].removeprefix("step ")], stderr=subprocess.DEVNULL)
        )

    def _last_lines(self) -> str:
        told = {log: self._lines(log)[-4:] or ["(empty)"] for log in self.logs.values()}
        return "\n".join(f"  {log}:\n" + "\n".join(f"    {line[:200]}" for line in last) for log, last in told.items())

    def _lines(self, log: Path) -> list[str]:
        text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
        return [line for line in _COLOUR.sub("", text).splitlines() if line.strip()]

    def _print(self, text: str) -> None:
        print(f"ray cluster of job {self.job}: {text}", flush=True)


def find_nodes(job: str, count: int) -> tuple[str, list[str]]:
    """Return this node and the job's other nodes.

    Raises:
        ClusterError: Slurm does not answer, the job does not have `count` nodes, or this node is not one of them.
    """
    try:
        names = _ask("scontrol", "show", "hostnames", _ask("squeue", "-h", "-j", job, "-o", "%N")).split()
    except (OSError, subprocess.SubprocessError) as error:
        raise ClusterError(NO_ALLOCATION, f"Slurm did not report the nodes of job {job}: {error}") from None
    if len(names) != count:
        raise ClusterError(
            NO_ALLOCATION,
            f"machine.nodes is {count}, but job {job} has {len(names)} node(s) ({' '.join(names)}). Slurm gives a job"
            " of one task only one node, and a job that requests `gpu` or no GPUs has one task. In slurm/config.yaml,"
            " request gres, or the same number of tasks as nodes.",
        )
    here = os.environ.get("SLURMD_NODENAME", socket.gethostname().partition(".")[0])
    if here not in names:
        raise ClusterError(
            NO_ALLOCATION,
            f"this node, {here}, is not one of job {job}'s nodes ({' '.join(names)}). Start the command on a node of"
            " the job.",
        )
    return here, [name for name in names if name != here]


def srun(job: str, nodes: Sequence[str]) -> list[str]:
    """Return the command prefix that starts one task on each of `nodes`, even if another step occupies the node."""
    inherited = [name for name in os.environ if name.startswith(("SLURM_", "SLURMD_", "SRUN_", "SBATCH_"))]
    clean = [word for name in sorted(inherited) if name not in _KEPT for word in ("-u", name)]
    step = ["srun", f"--jobid={job}", "--overlap", "--mpi=none", "--cpu-bind=none", "--export=ALL", "--input=none"]
    step += ["--kill-on-bad-exit=1", "--unbuffered", f"--nodes={len(nodes)}", f"--ntasks={len(nodes)}"]
    return ["env", *clean, *step, "--ntasks-per-node=1", f"--nodelist={','.join(nodes)}"]


def address_seen_from(workers: Sequence[str]) -> str:
    """Return this node's address on the network on which Slurm reaches the first of `workers`.

    A node may have several addresses, and possibly none with a route out of the cluster.

    Raises:
        ClusterError: Slurm does not report the worker's address, or there is no route to it.
    """
    try:
        told = _ask("scontrol", "show", "node", "--oneliner", workers[0]).split()
        other = next(word for word in told if word.startswith("NodeAddr=")).partition("=")[2]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Nothing is sent: the system only selects a route.
            probe.connect((other, 9))
            return str(probe.getsockname()[0])
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        raise ClusterError(NO_ALLOCATION, f"the route from this node to {workers[0]} is unknown: {error}") from None


def _ask(*command: str) -> str:
    # A controller that is down blocks its clients for minutes.
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
    """Signal all processes, wait for all of them, and kill the rest together with their children."""
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
