"""The graph of rules, dry, and once for real: every stage, on the real stack, in a copy of the repository."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from medrlvr.files import read_parquet

MINIATURE = ["--configfile", "config/miniature.yaml"]
SHORT = [*MINIATURE, "tests/short.yaml"]


def snakemake(*arguments: str, cwd: Path = Path()) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MEDRLVR_", "PYTHONPATH"))}
    return subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def jobs(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Rule -> number of jobs, from a dry run's table."""
    assert result.returncode == 0, result.stdout + result.stderr
    if "Job stats:" not in result.stdout:
        return {}
    table = result.stdout.split("Job stats:")[1].split("total")[0].splitlines()[3:]
    return {line.split()[0]: int(line.split()[1]) for line in table if line.strip()}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would hand out, so that nothing untracked or already made can help."""
    target = tmp_path_factory.mktemp("clone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if Path(name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target / name)
    return target


def test_the_miniature_is_planned_whole(clone: Path) -> None:
    assert jobs(snakemake("--dry-run", *MINIATURE, cwd=clone)) == {
        "all": 1,
        "make_miniature": 1,
        "normalise_questions": 4,
        "find_duplicates": 1,
        "split_questions": 1,
        "render_prompts": 1,
        "fetch_model": 1,
        "train_sft": 1,
        "train_rlvr": 1,
        "generate_answers": 3,
        "score_answers": 3,
        "compare_models": 1,
        "tabulate_dynamics": 1,
        "draw_figures": 1,
        "render_report": 1,
    }


def test_the_papers_experiment_is_planned_without_data(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", cwd=clone))
    assert planned["fetch_dataset"] == 4
    assert planned["train_rlvr"] == 1


def test_the_base_can_be_rebuilt(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, "--config", "base={source: rebuilt}", cwd=clone))
    assert planned["pretrain_base"] == 1
    assert "fetch_model" not in planned


def test_one_file_can_be_asked_for(clone: Path) -> None:
    planned = jobs(snakemake("--dry-run", *MINIATURE, "--", "results/miniature/prompts/sft.jsonl", cwd=clone))
    assert "render_prompts" in planned
    assert "train_sft" not in planned


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("machin={device: cpu}", "machin: unknown key; did you mean machine?"),
        ("data={train: miniature/trian}", "there is no data set 'miniature/trian'"),
    ],
)
def test_a_mistake_in_the_configuration_stops_at_once(clone: Path, config: str, message: str) -> None:
    result = snakemake("--dry-run", *MINIATURE, "--config", config, cwd=clone)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_a_missing_mirror_file_is_named(clone: Path, tmp_path: Path) -> None:
    wanted = "results/med_rlvr/data/raw/medqa/test.jsonl"
    result = snakemake("--config", f"data={{mirror: {tmp_path}}}", "--", wanted, cwd=clone)
    assert result.returncode != 0
    assert f"{tmp_path}/medqa/test.jsonl" in result.stderr + result.stdout
    assert "MEDRLVR_MIRROR" in result.stderr + result.stdout
    assert not (clone / wanted).exists()


@contextmanager
def training(cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """The short experiment as a shell would start it, once its first update is done."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *SHORT]
    with subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        for line in process.stdout:
            if "update 1 of 2" in line:
                break
        yield process


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd().startswith(str(folder)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@pytest.mark.slow
def test_a_killed_ray_ends_the_run_with_a_way_out(clone: Path) -> None:
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


@pytest.mark.slow
def test_ctrl_c_ends_everything(clone: Path) -> None:
    with training(clone) as process:
        os.killpg(process.pid, signal.SIGINT)
        printed = process.stdout.read()
    assert process.returncode != 0
    assert "Start the same command again to go on with it" in printed
    assert "Traceback" not in printed
    assert processes_in(clone) == []


@pytest.mark.slow
def test_the_whole_graph_for_real(clone: Path) -> None:
    result = snakemake(*SHORT, cwd=clone)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    results = clone / "results/short"

    page = (results / "report.html").read_text(encoding="utf-8")
    assert "These accuracies support no claim" in page
    assert page.count("<svg") == 3
    assert "Update 2, question miniature/train/" in page

    for model, modes in (("base", 2), ("sft/seed1", 1), ("rlvr/seed1", 1)):
        metrics = json.loads((results / f"eval/{model}/metrics.json").read_text())
        assert [record["n"] for record in metrics] == [16] * 2 * modes
        scores = read_parquet(results / f"eval/{model}/scores.parquet")
        for record in metrics:
            group = scores[(scores["benchmark"] == record["benchmark"]) & (scores["mode"] == record["mode"])]
            assert group["correct"].mean() == record["accuracy"]
            assert f"{100 * record['accuracy']:.1f}" in page

    rollouts = read_parquet(results / "rollouts/rlvr/seed1/rollouts.parquet")
    assert rollouts.groupby("update").size().to_dict() == {1: 32, 2: 32}
    dynamics = read_parquet(results / "dynamics/rlvr/seed1.parquet")
    assert dynamics["reward"].tolist() == rollouts.groupby("update")["reward"].mean().tolist()
    assert dynamics["engine_kl"].abs().max() < 2e-3

    again = snakemake(*SHORT, cwd=clone)
    assert "Nothing to be done" in again.stdout + again.stderr
    forced = jobs(snakemake("--dry-run", *SHORT, "--forcerun", "score_answers", cwd=clone))
    assert set(forced) == {"all", "score_answers", "compare_models", "draw_figures", "render_report"}
