"""A real Slurm of two nodes: a whole experiment by the profile, RLVR on two nodes of Ray, and what can go wrong."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from pipeline import SHORT, first_causes, jobs, snakemake

from medrlvr.runtime.environment import process_environment
from medrlvr.training.cluster import launcher
from slurm import TWO_NODES, Cluster, running, until, write_profile

pytestmark = [pytest.mark.slow, pytest.mark.extended, pytest.mark.cluster]

TOY = """
import sys, time, os, ray
ray.init(logging_level="error")
# An actor holds its GPU as long as it lives, so none of them can have another's.
@ray.remote(num_gpus=1)
class Holder:
    def where(self):
        return os.environ["SLURMD_NODENAME"], len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))
holders = [Holder.remote() for _ in range(int(ray.cluster_resources()["GPU"]))]
print("here:", sorted(ray.get([holder.where.remote() for holder in holders])), flush=True)
time.sleep(float(sys.argv[1]))
sys.exit(7)
"""
BEHIND = """
import signal, subprocess, sys
signal.signal(signal.SIGTERM, lambda *_: None)
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
"""What Snakemake's job step does to what runs in it: a signal of Slurm ends there."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("slurm")) as found:
        yield found


def profile(clone: Path, name: str, **changes: Any) -> list[str]:
    return write_profile(clone / "profiles" / name, **changes)


def overlay(clone: Path, name: str, text: str) -> str:
    path = clone / f"{name}.yaml"
    path.write_text(f"experiment: {name}\n{text}", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def experiment(cluster: Cluster, clone: Path) -> Iterator[subprocess.Popen[str]]:
    """A whole experiment, which runs at the same time as the other tests: it mostly waits."""
    words = [*profile(clone, "two"), *SHORT, overlay(clone, "short_slurm", TWO_NODES)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MEDRLVR_", "PYTHONPATH"))}
    with (clone / "short_slurm.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", *words], cwd=clone, env=environment, stdout=log, stderr=log, text=True
        )
        yield process
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


class Job:
    """A job of two nodes that runs the toy on a Ray cluster."""

    def __init__(
        self, cluster: Cluster, folder: Path, *options: str, sleep: float = 0, sbatch: Sequence[str] = ()
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "toy.py").write_text(TOY)
        self.output, self.logs, self._cluster = folder / "output.txt", folder / "logs", cluster
        command = [sys.executable, "-m", "medrlvr.training.cluster.launcher", f"--logs={self.logs}"]
        command += [*(options or ("--nodes=2", "--gpus=2")), "--", sys.executable, str(folder / "toy.py"), str(sleep)]
        script = folder / "job.sh"
        (folder / "behind.py").write_text(BEHIND)
        step = f"srun -n1 {sys.executable} {folder / 'behind.py'}"
        variables = process_environment("gpu", 1, folder).items()
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables)
        script.write_text(f"#!/bin/sh\n{exports}exec {step} {' '.join(command)}\n")
        asked = sbatch or ("--nodes=2", "--gres=gpu:2")
        self.id = cluster.ask("sbatch", "--parsable", "--mem=4000", f"--output={self.output}", *asked, str(script))

    def wait_for(self, text: str, seconds: float = 300) -> None:
        until(lambda: text in self.text() or self._has_ended(), seconds, lambda: f"no {text!r} in {self.text()}")
        assert text in self.text()

    def text(self) -> str:
        return self.output.read_text(encoding="utf-8") if self.output.exists() else ""

    def end(self, seconds: float = 300) -> dict[str, str]:
        """Wait for its end, and return what Slurm reports about it."""
        until(self._has_ended, seconds, self.text)
        return self._said()

    def _has_ended(self) -> bool:
        return self._said()["JobState"] not in ("PENDING", "RUNNING", "COMPLETING")

    def _said(self) -> dict[str, str]:
        said = self._cluster.ask("scontrol", "show", "job", "--oneliner", self.id)
        return dict(pair.split("=", 1) for pair in said.split() if "=" in pair)

    def left(self) -> list[str]:
        """Processes and folders of this job, on any node."""
        found = [command[:100] for _, _, command in self._processes()]
        return [*found, *map(str, Path("/tmp").glob(f"ray-{self.id}-*"))]

    def suspend_ray(self, node: str) -> None:
        """Stop the start of Ray on a node while it imports Ray, as a file system that hangs does."""
        found: list[psutil.Process] = []

        def starts() -> bool:
            found[:] = [process for process, at, command in self._processes() if at == node and "ray start" in command]
            return bool(found) or self._has_ended()

        until(starts, 300, lambda: f"Ray does not start on {node}: {self.text()}")
        for process in found:
            process.suspend()

    def _processes(self) -> Iterator[tuple[psutil.Process, str, str]]:
        """The job's processes, each with its node and its command."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                variables = process.environ()
                if variables.get("SLURM_JOB_ID") == self.id:
                    yield process, variables.get("SLURMD_NODENAME", ""), " ".join(process.cmdline())

    def assert_clean(self) -> None:
        until(lambda: not self.left(), 30, lambda: f"{self.left()} is left")


@pytest.fixture
def toy(cluster: Cluster, experiment: object, tmp_path: Path):
    def start(*options: str, name: str = "job", **settings: Any) -> Job:
        return Job(cluster, tmp_path / name, *options, **settings)

    return start


def test_the_command_runs_on_the_gpus_of_both_nodes(toy) -> None:
    job = toy()
    end = job.end()
    assert "here: [('n1', 1), ('n1', 1), ('n2', 1), ('n2', 1)]" in job.text()
    assert (end["JobState"], end["ExitCode"]) == ("FAILED", "7:0"), "the command's own status"
    assert sorted(log.name for log in job.logs.iterdir()) == [f"job{job.id}-n1.log", f"job{job.id}-n2.log"]
    job.assert_clean()


def test_a_cancelled_job_leaves_nothing_of_its_own_and_all_of_its_neighbours(toy, cluster: Cluster) -> None:
    """Two clusters of one user on the same nodes: neither takes the other's ports, folders or processes."""
    one = ["--nodes=2", "--gpus=1"]
    neighbour = toy(*one, sleep=20, sbatch=["--nodes=2", "--gres=gpu:1"], name="neighbour")
    job = toy(*one, sleep=600, sbatch=["--nodes=2", "--gres=gpu:1"])
    for started in (neighbour, job):
        started.wait_for("here: [('n1', 1), ('n2', 1)]")
    cluster.ask("scancel", job.id)
    assert job.end()["JobState"] == "CANCELLED"
    job.assert_clean()
    assert f"ClusterError: Slurm ended job {job.id}: it was cancelled or reached its time limit." in job.text()
    assert neighbour.end()["ExitCode"] == "7:0"
    neighbour.assert_clean()


def test_a_node_that_fails_at_its_start_is_reported_with_its_log(toy) -> None:
    """Ray itself refuses to promise more GPUs than Slurm gave."""
    job = toy("--nodes=2", "--gpus=2", sbatch=["--nodes=2", "--gres=gpu:1"])
    assert job.end()["ExitCode"] == f"{launcher.NODE_LOST}:0"
    assert "ClusterError: a node of Ray ended." in job.text()
    assert f"job{job.id}-n1.log:" in job.text() and "CUDA_VISIBLE_DEVICES contains ['" in job.text()
    job.assert_clean()


def test_gpus_that_never_come_end_the_job_after_the_wait(toy) -> None:
    job = toy("--nodes=2", "--gpus=2", "--wait=1")
    job.suspend_ray("n2")
    assert job.end()["ExitCode"] == f"{launcher.NOT_COMPLETE}:0"
    assert "2 node(s) with 2 GPU(s) each were requested, but not all of them came within 1 s." in job.text()
    assert f"job{job.id}-n2.log:" in job.text()
    job.assert_clean()


def test_a_job_of_too_few_nodes_is_reported_with_its_nodes(toy) -> None:
    job = toy(sbatch=["--nodes=1", "--gres=gpu:2"])
    assert job.end()["ExitCode"] == f"{launcher.NO_ALLOCATION}:0"
    assert f"machine.nodes is 2, but job {job.id} has 1 node(s) (n" in job.text()
    job.assert_clean()


def test_a_partition_that_does_not_exist_is_reported_before_anything_is_submitted(
    cluster: Cluster, clone: Path
) -> None:
    words = profile(clone, "nowhere", defaults={"slurm_partition": "nowhere"})
    result = snakemake(*words, *SHORT, overlay(clone, "nowhere", ""), "--nolock", cwd=clone, cores=False)
    assert result.returncode == 1
    assert "Slurm has no partition nowhere; it has cpu, gpu. Set slurm_partition" in result.stderr
    assert "Traceback" not in result.stderr and "has been submitted" not in result.stderr


def test_a_job_cancelled_while_it_waits_is_reported_and_can_be_repeated(cluster: Cluster, clone: Path) -> None:
    later = profile(clone, "later", retries=0, defaults={"slurm_extra": "'--begin=now+1hour'"})
    rest = [*SHORT, overlay(clone, "pending", ""), "--nolock", "--until", "make_miniature"]
    command = [sys.executable, "-m", "snakemake", *later, *rest]
    with subprocess.Popen(command, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        waiting = "squeue", "-h", "--states=PD", "-o", "%i %r"
        until(lambda: "BeginTime" in cluster.ask(*waiting), 60, lambda: "nothing waits")
        (number,) = (line.split()[0] for line in cluster.ask(*waiting).splitlines() if "BeginTime" in line)
        cluster.ask("scancel", number)
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"SLURM-job '{number}' failed, SLURM status is: 'CANCELLED'" in said
    log = re.search(r"(\S+/slurm_logs/rule_make_miniature/\d+\.log)", said)
    assert log and log.group(1).endswith(f"{number}.log"), said
    again = snakemake(*profile(clone, "now"), *rest, cwd=clone, cores=False)
    assert again.returncode == 0, again.stderr[-2000:]
    assert (clone / "results/pending/data/raw/miniature/train.jsonl").exists()


def test_the_check_of_a_gpu_is_a_job_that_reads_its_time_limit(cluster: Cluster, clone: Path) -> None:
    """As `make gpu-check PROFILE=slurm MINUTES=...` starts it, on a CPU and with too little time for any row."""
    overlays = ["config/miniature.yaml", "config/gpu_check.yaml", overlay(clone, "checked", "")]
    words = [*profile(clone, "check"), "--configfile", *overlays, "--nolock"]
    target = "results/checked/report.json"
    done = snakemake(*words, "--", target, cwd=clone, cores=False, GPU_CHECK_MINUTES="0.001")
    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((clone / target).read_text(encoding="utf-8"))["rows"]
    outcomes = {row["name"]: row["outcome"] for row in rows}
    assert set(outcomes.values()) <= {"not run: time", "not applicable"} and len(outcomes) == 8
    assert outcomes["training"] == outcomes["ppo"] == "not run: time"
    assert "Slurm job" in (clone / "results/checked/logs/gpu_check.log").read_text(encoding="utf-8")


@pytest.mark.timeout(1500)
def test_a_job_whose_time_is_almost_up_saves_is_requeued_and_resumes(cluster: Cluster, clone: Path) -> None:
    """Three minutes are too short for 300 updates. Snakemake waits through the requeue, without a retry."""
    long = "arms: {rlvr: {episodes: 150, save_every: 1000}}\n"
    words = [*profile(clone, "hurried", retries=0), *SHORT, overlay(clone, "hurried", long), "--nolock"]
    rollouts = "results/hurried/rollouts/rlvr/seed1/rollouts.parquet"
    before = ["results/hurried/prompts/rlvr.jsonl", "results/hurried/models/base"]
    here = ["--cores", "1", *SHORT, str(clone / "hurried.yaml"), "--nolock"]
    prepared = snakemake(*here, "--", *before, cwd=clone, cores=False)
    assert prepared.returncode == 0, prepared.stderr
    command = [sys.executable, "-m", "snakemake", *words, "--set-resources", "train_rlvr:runtime=3", "--", rollouts]
    log = clone / "results/hurried/logs/checkpoints/rlvr/seed1.log"
    with subprocess.Popen(command, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            until(
                lambda: log.exists() and "was requeued and will resume" in log.read_text(), 400, lambda: "not requeued"
            )
            first = log.read_text(encoding="utf-8")
            # Slurm starts a requeued job two minutes later, and the step then writes its log again.
            until(lambda: log.exists() and "resuming at update" in log.read_text(), 400, lambda: "not resumed")
            (number,) = re.findall(r"Slurm job (\d+) was requeued", first)
            cluster.ask("scancel", number)
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
        said, _ = process.communicate(timeout=200)
    (resumed,) = re.findall(r"resuming at update (\d+);", log.read_text(encoding="utf-8"))
    (saved,) = re.findall(r"The checkpoint after update (\d+) is complete", first)
    assert int(resumed) == int(saved) + 1 > 3
    assert f"SLURM-job '{number}' failed, SLURM status is: 'CANCELLED'" in said and "Trying to restart" not in said


@pytest.mark.timeout(2400)
def test_the_whole_experiment_with_rlvr_on_two_nodes(
    experiment: subprocess.Popen[str], cluster: Cluster, clone: Path
) -> None:
    assert experiment.wait(timeout=2100) == 0, (clone / "short_slurm.log").read_text()[-4000:]
    results = clone / "results/short_slurm"
    assert "These accuracies support no claim" in (results / "report.html").read_text(encoding="utf-8")
    log = (results / "logs/checkpoints/rlvr/seed1.log").read_text(encoding="utf-8")
    assert "head n1, workers n2, 1 GPU(s) per node" in log and "rlvr, seed 1: update 2 of 2" in log
    nodes = sorted(path.name.partition("-")[2] for path in (results / "logs/checkpoints/rlvr/seed1").iterdir())
    assert nodes == ["n1.log", "n2.log"]
    assert "Error in rule" not in (clone / "short_slurm.log").read_text(encoding="utf-8")
    asked = set()
    for line in cluster.ask("scontrol", "show", "job", "--oneliner").splitlines():
        told = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)
        if rule := re.match(r"rule_([a-z_]+?)(_wildcards_|$)", told.get("Comment", "")):
            asked.add((rule.group(1), told["NumNodes"], told.get("TresPerNode")))
    assert {entry for entry in asked if entry[1:] != ("1", None)} == {("train_rlvr", "2", "gres:gpu:1")}
    assert {"train_sft", "generate_answers", "render_report"} <= {rule for rule, *_ in asked}
    assert not cluster.jobs()
    nothing = snakemake(*profile(clone, "two"), *SHORT, str(clone / "short_slurm.yaml"), "-n", cwd=clone, cores=False)
    assert jobs(nothing) == {} and first_causes(nothing) == {}
