"""Start and watch one node of a Ray cluster, and clean up when it ends. `launcher` runs this on each node."""

import argparse
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from medrlvr.training.ports import free_ports

_MARK = "MEDRLVR_RAY_NODE"
"""Environment variable of every process of a Ray node, whatever its parent; its value is the node's folder."""

_LARGEST_STORE = 16 << 30
"""Maximum bytes of Ray's object store; an update of the paper's size needs less than one GiB."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node until a signal ends it, or wait for all nodes; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m medrlvr.training.cluster.node")
    parser.add_argument("--address", required=True, help="address of the head, host:port")
    parser.add_argument("--gpus", type=int, required=True)
    parser.add_argument("--head", action="store_true")
    parser.add_argument("--folder", type=Path, help="folder for the node's files; the node's number is appended")
    parser.add_argument("--logs", type=Path, help="folder for the node's log")
    parser.add_argument("--await-nodes", type=int, help="start no node; wait for N nodes with --gpus GPUs in total")
    parser.add_argument("--seconds", type=float)
    options = parser.parse_args(arguments)
    if options.await_nodes:
        return _await_nodes(options.address, options.await_nodes, options.gpus, options.seconds)
    # A node's two names may differ; users know the name in Slurm.
    name = os.environ.get("SLURMD_NODENAME", socket.gethostname())
    with log_path(options.logs, os.environ["SLURM_JOB_ID"], name).open("wb", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    # Two nodes may run on one machine. A number is short, as the folder's path must be.
    number = 0 if options.head else int(os.environ["SLURM_PROCID"]) + 1
    folder = options.folder.with_name(f"{options.folder.name}-{number}")
    return _be_node(options.address, options.gpus, options.head, folder)


def log_path(folder: Path, job: str, node: str) -> Path:
    """Return the log file of a job's node."""
    return folder / f"job{job}-{node}.log"


def start_command(address: str, gpus: int, head: bool, folder: Path, ports: Sequence[int]) -> list[str]:
    """Return the command that starts a node; no port keeps its default, which another job's node may use.

    Args:
        address: the head's address, "host:port".
        folder: folder for sockets and logs.
        ports: seven free ports.
    """
    host, _, port = address.rpartition(":")
    place = ["--head", f"--node-ip-address={host}", f"--port={port}", "--include-dashboard=false"]
    place += [f"--ray-client-server-port={ports[6]}"]
    names = ("node-manager", "object-manager", "runtime-env-agent", "dashboard-agent-grpc", "dashboard-agent-listen")
    given = [f"--{name}-port={port}" for name, port in zip((*names, "metrics-export"), ports[:6], strict=True)]
    store = min(_LARGEST_STORE, psutil.virtual_memory().total // 20)
    return [
        *[str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats"],
        *(place if head else [f"--address={address}"]),
        *[f"--num-gpus={gpus}", f"--num-cpus={gpus + 2}", f"--object-store-memory={store}", f"--temp-dir={folder}"],
        *given,
        *["--min-worker-port=0", "--max-worker-port=0"],
    ]


def _be_node(address: str, gpus: int, head: bool, folder: Path) -> int:
    # The launcher needs the step's number to end it, and can read it only here.
    print(f"step {os.environ.get('SLURM_JOB_ID')}.{os.environ.get('SLURM_STEP_ID')}", flush=True)
    told: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note)
    command = start_command(address, gpus, head, folder, free_ports(7))
    environment = os.environ | {_MARK: str(folder)}
    # A node must not start with the address of a cluster in its environment.
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        while process.poll() is None and not told:
            time.sleep(0.1)
    finally:
        status = process.poll()
        _sweep(folder)
    return 0 if status is None else status or 1


def _sweep(folder: Path) -> None:
    """End the raylet, which ends its workers, then all other processes of the node, and remove the folder."""
    # Do not signal `ray start` itself: after two signals it hangs forever.
    for raylet in [process for process in _marked(folder) if "raylet" in Path(process.name()).name]:
        with suppress(psutil.Error):
            raylet.terminate()
            raylet.wait(2.0)
    while left := list(_marked(folder)):
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        # A process that has pinned much memory takes long to end; the files are removed without waiting for it.
        shutil.rmtree(folder, ignore_errors=True)
        psutil.wait_procs(left, timeout=1.0)
    shutil.rmtree(folder, ignore_errors=True)


def _marked(folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(_MARK) == str(folder):
                yield process


def _await_nodes(address: str, nodes: int, gpus: int, seconds: float) -> int:
    import ray

    nodes_of: Callable[[], list[dict[str, Any]]] = ray.nodes
    deadline, alive, found = time.monotonic() + seconds, 0, 0
    while time.monotonic() < deadline:
        with suppress(ConnectionError, RuntimeError, ValueError):
            if not ray.is_initialized():
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            there = [node for node in nodes_of() if node["Alive"]]
            alive, found = len(there), int(sum(node["Resources"].get("GPU", 0) for node in there))
            if alive >= nodes and found >= gpus:
                return 0
        time.sleep(0.5)
    print(f"{alive} of {nodes} node(s), {found} of {gpus} GPU(s)", flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
