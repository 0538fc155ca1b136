"""Experiments that are interrupted, that fail in one arm, or that run again elsewhere."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from pipeline import SHORT, jobs, processes_in, snakemake

pytestmark = [pytest.mark.slow, pytest.mark.extended]


@contextmanager
def training(cwd: Path, fresh: bool = True) -> Iterator[subprocess.Popen[str]]:
    """The short experiment as a shell would start it, once an update is done; `begun` has the lines until then.

    Args:
        fresh: whether RLVR starts from its first update.
    """
    if fresh:
        shutil.rmtree(cwd / "results/short/state", ignore_errors=True)
    # The run has many updates, so it cannot end before the test interrupts it.
    long = ("--config", "arms={rlvr: {episodes: 50}}")
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *SHORT, *long]
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # Tests that were started in the background would hand on that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        process.begun = []
        for line in process.stdout:
            process.begun.append(line)
            if re.search(r"update \d+ of 100", line):
                break
        yield process


def test_a_killed_ray_ends_the_run_with_a_remedy(clone: Path) -> None:
    with training(clone) as process:
        (raylet,) = (
            child for child in psutil.Process(process.pid).children(recursive=True) if child.name() == "raylet"
        )
        raylet.kill()
        printed = process.stdout.read()
    assert process.returncode != 0
    assert "A process of Ray died or was killed. Start the same command again" in printed
    assert "Traceback" not in printed
    assert not (clone / "results/short/models/rlvr/seed1").exists()
    assert processes_in(clone) == []


def test_ctrl_c_ends_everything(clone: Path) -> None:
    with training(clone) as process:
        os.killpg(process.pid, signal.SIGINT)
        printed = process.stdout.read()
    assert process.returncode != 0
    assert "Start the same command again to resume it" in printed
    assert "Traceback" not in printed
    assert processes_in(clone) == []


def test_after_snakemake_is_killed_the_same_command_resumes(clone: Path) -> None:
    """Its steps end without a signal, and the folder needs no --unlock."""
    with training(clone) as process:
        for line in process.stdout:
            if "update 4 of 100" in line:
                break
        process.kill()
    with training(clone, fresh=False) as again:
        assert again.poll() is None
        os.killpg(again.pid, signal.SIGINT)
        printed = again.stdout.read()
    resumed = re.search(r"100 updates, resuming at update (\d+);", "\n".join(again.begun) + printed)
    assert resumed and int(resumed[1]) > 1
    assert processes_in(clone) == []


def test_the_data_have_the_same_bytes_on_one_core(clone: Path) -> None:
    folders = [clone / "results" / name for name in ("short", "again")]
    for cores, folder in zip(("2", "1"), folders, strict=True):
        wanted = [f"results/{folder.name}/{file}" for file in ("data/data_card.json", "prompts/rlvr.jsonl")]
        named = ("--config", f"experiment={folder.name}")
        made = snakemake("--cores", cores, *SHORT, *named, "--", *wanted, cwd=clone, cores=False)
        assert made.returncode == 0, made.stderr
    first, second = folders
    files = [path.relative_to(second) for part in ("data", "prompts") for path in (second / part).rglob("*.*")]
    assert len(files) > 20
    assert [path for path in files if (first / path).read_bytes() != (second / path).read_bytes()] == []


STAND_IN = """
from pathlib import Path
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.step_log import step_log

with step_log(snakemake):
    if snakemake.wildcards.arm == "rlvr_broken" and not Path("repaired").exists():
        raise UserError("this arm is broken")
    for path in map(Path, snakemake.output):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir()
"""


def test_an_arm_that_fails_stops_no_other_and_only_it_is_repeated(clone: Path, tmp_path: Path) -> None:
    """The whole graph before training, and a stand-in for training itself."""
    here = tmp_path / "here"
    shutil.copytree(clone, here, ignore=shutil.ignore_patterns("results", ".snakemake"))
    (here / "workflow/scripts/train_rlvr.py").write_text(STAND_IN, encoding="utf-8")
    arms = ("rlvr_broken", "rlvr", "rlvr_other")
    (here / "arms.yaml").write_text("arms: {rlvr_broken: {extends: rlvr}, rlvr_other: {extends: rlvr}}")
    made = [f"results/short/rollouts/{arm}/seed1/rollouts.parquet" for arm in arms]
    command = ("--keep-going", *SHORT, "arms.yaml", "--", *made)

    first = snakemake("--cores", "1", *command, cwd=here, cores=False)
    assert first.returncode != 0
    assert [(here / path).exists() for path in made] == [False, True, True]
    assert "this arm is broken\n(log: results/short/logs/checkpoints/rlvr_broken/seed1.log)" in first.stderr
    assert jobs(snakemake("--dry-run", *command, cwd=here)) == {"train_rlvr": 1}
    (here / "repaired").touch()
    again = snakemake("--cores", "1", *command, cwd=here, cores=False)
    assert again.returncode == 0 and (here / made[0]).exists(), again.stderr
