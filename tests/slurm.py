"""A real Slurm on this machine: two nodes with four simulated GPUs each, which the tests start and stop.

python tests/slurm.py    runs the whole miniature on it, with RLVR on both nodes, into results/miniature_slurm/
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from programs import find_or_install

CONFIGURATION = Path("/etc/slurm")
OURS = "# Written by the tests of Med-RLVR; they replace it."

_SLURM = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/{tracking}
TaskPlugin=task/{tasks}
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
SlurmctldPort=6817
KillWait=10
MinJobAge=3600
MessageTimeout=10
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port=6821 CPUs=16 RealMemory=400000 Gres=gpu:4 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port=6822 CPUs=16 RealMemory=400000 Gres=gpu:4 State=UNKNOWN
PartitionName=cpu Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=n1,n2 MaxTime=INFINITE State=UP
"""

_CGROUP = "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\nConstrainRAMSpace=yes\nConstrainCores=no\n"
_GPUS = "".join(f"Name=gpu File=/dev/{name}\n" for name in ("null", "zero", "full", "urandom"))


TWO_NODES = "machine: {nodes: 2}\n"


def write_profile(folder: Path, *, defaults: dict[str, str] | None = None, **changes: object) -> list[str]:
    """The repository's own profile, with ends of jobs looked for more often; `defaults` change default-resources."""
    values = yaml.safe_load(Path("slurm/config.yaml").read_text(encoding="utf-8"))
    values["default-resources"] |= defaults or {}
    # On a CPU nothing asks for GPUs: here RLVR does, in the words in which it would.
    values["set-resources"]["train_rlvr"]["gres"] = "gpu:1"
    values |= {"slurm-init-seconds-before-status-checks": 1, "latency-wait": 10, **changes}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return ["--profile", str(folder)]


@dataclass(frozen=True)
class Cluster:
    folder: Path
    cgroup: bool

    def ask(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()

    def jobs(self, form: str = "%i") -> list[str]:
        """What is not ended, in squeue's format."""
        return self.ask("squeue", "-h", "-o", form).splitlines()

    def wait_empty(self, seconds: float = 60) -> None:
        until(lambda: not self.jobs(), seconds, lambda: "Slurm still has jobs")


def until(done: Callable[[], object], seconds: float, problem: Callable[[], str]) -> None:
    """Wait until `done` returns a true value; after `seconds`, fail with the text that `problem` then returns."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"after {seconds} s: {problem()}"
        time.sleep(0.2)


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """Skips with the reason where no Slurm can be installed, or where there is one that is not ours."""
    if os.geteuid() != 0:
        pytest.skip("starting a Slurm needs root")
    there = CONFIGURATION / "slurm.conf"
    if there.exists() and OURS not in there.read_text(encoding="utf-8"):
        pytest.skip(f"{there} is a cluster's own; the tests would replace it")
    for program, package in (("slurmctld", "slurmctld"), ("slurmd", "slurmd"), ("sbatch", "slurm-client")):
        find_or_install((program,), package)
    find_or_install(("munged",), "munge")
    # Both of them, as on a real cluster; where this machine does not let us, by parents, which orphans escape.
    cgroup = all(Path("/sys/fs/cgroup", name, "tasks").exists() for name in ("freezer", "memory"))
    _configure(folder, cgroup)
    with _munge(), _daemons(folder):
        cluster = Cluster(folder, cgroup)
        until(lambda: "idle" in _states() and len(_states()) == 1, 60, lambda: "the nodes are not idle")
        try:
            yield cluster
        finally:
            # No job outlives its Slurm.
            subprocess.run(["scancel", "--user=root"], capture_output=True, timeout=20, check=False)
            with suppress(AssertionError):
                cluster.wait_empty(30)


def _states() -> set[str]:
    with suppress(subprocess.SubprocessError):
        asked = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True, timeout=5, check=True)
        return set(asked.stdout.split())
    return set()


def _configure(folder: Path, cgroup: bool) -> None:
    host = socket.gethostname().partition(".")[0]
    text = _SLURM.format(
        host=host, folder=folder, tracking="cgroup" if cgroup else "linuxproc", tasks="cgroup" if cgroup else "none"
    )
    CONFIGURATION.mkdir(parents=True, exist_ok=True)
    for name, content in {"slurm.conf": text, "cgroup.conf": _CGROUP, "gres.conf": _GPUS}.items():
        (CONFIGURATION / name).write_text(f"{OURS}\n{content}", encoding="utf-8")
    for name in ("state", "spool-n1", "spool-n2"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir(parents=True)


@contextmanager
def _munge() -> Iterator[None]:
    running = [process for process in psutil.process_iter() if process.name() == "munged"]
    if running:
        yield
        return
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True, timeout=30)
    try:
        yield
    finally:
        ours = [process for process in psutil.process_iter() if process.name() == "munged"]
        for process in ours:
            process.terminate()
        psutil.wait_procs(ours, timeout=10)


@contextmanager
def _daemons(folder: Path) -> Iterator[None]:
    for left in psutil.process_iter():
        assert left.name() not in ("slurmctld", "slurmd"), f"a Slurm runs already, as process {left.pid}"
    started = []
    try:
        for command in (["slurmctld", "-c", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        yield
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder:
        overlay = Path(folder, "two_nodes.yaml")
        overlay.write_text(f"experiment: miniature_slurm\n{TWO_NODES}", encoding="utf-8")
        words = [*write_profile(Path(folder, "profile")), "--configfile", "config/miniature.yaml", str(overlay)]
        try:
            with running(Path(folder, "slurm")):
                return subprocess.run([sys.executable, "-m", "snakemake", *words], check=False).returncode
        except pytest.skip.Exception as reason:
            print(f"not run: {reason}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
