"""Faults of a training run, one at a time: one clear message, no process left, and the same command finishes."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import yaml
from faults import PARTS, RESULTS, ROLLOUTS, Run, leftovers, wrong_in
from pipeline import copy_of_the_commit, processes_in

pytestmark = [pytest.mark.slow, pytest.mark.faults]

TRAINING = (str(ROLLOUTS),)
root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which all steps before RLVR are done."""
    folder = copy_of_the_commit(tmp_path_factory.mktemp("faults"))
    run = Run(folder, ("--", f"{RESULTS}/prompts/rlvr.jsonl", f"{RESULTS}/models/base"))
    assert "Traceback" not in run.end() and run.process.returncode == 0
    return folder


@pytest.fixture
def clone(prepared: Path) -> Iterator[Path]:
    """The clone without any training; after the test, nothing of the test's runs is left."""
    for part in ("state", "rollouts", "checkpoints/rlvr", "tensorboard/rlvr"):
        shutil.rmtree(prepared / RESULTS / part, ignore_errors=True)
    shared = set(os.listdir("/dev/shm"))
    yield prepared
    left = leftovers(prepared, shared)
    for process in processes_in(prepared):
        process.kill()
    assert left == []


def training(clone: Path, *words: str) -> Run:
    return Run(clone, (*words, "--", *TRAINING))


def failed(run: Run, *told: str) -> str:
    """Require one clear message with the log's path, and return what was printed."""
    text = run.end()
    assert run.process.returncode != 0
    for part in told:
        assert part in text, text[-3000:]
    assert "Traceback" not in text and "bug in medrlvr" not in text, text[-3000:]
    assert f"(log: {RESULTS}/logs/checkpoints/rlvr/seed1.log)" in text
    return text


def finished(clone: Path, resumed: int | None = None) -> str:
    """Require that the same command finishes with the right results; from update `resumed` + 1 if it is given."""
    run = training(clone)
    text = run.end()
    assert run.process.returncode == 0, text[-3000:]
    assert wrong_in(clone) == []
    if resumed is not None:
        told = f"resuming at update {resumed + 1};" if resumed else "12 updates; starting Ray"
        assert told in text
    return text


def saved(clone: Path) -> int:
    """Return the update of the last complete checkpoint."""
    found = (clone / RESULTS / "state").glob("rlvr-*/checkpoints/global_step*_hf/sha256.json")
    return max((int(path.parent.name.removeprefix("global_step").removesuffix("_hf")) for path in found), default=0)


@pytest.mark.parametrize("part", [name for name in PARTS if name not in ("Snakemake", "the step")])
def test_a_killed_process_of_the_trainer(clone: Path, part: str) -> None:
    run = training(clone).until("update 5 of 12")
    run.part(part).kill()
    failed(run, "Start the same command again")
    finished(clone, saved(clone))


def test_a_killed_step(clone: Path) -> None:
    run = training(clone).until("update 5 of 12")
    run.part("the step").kill()
    run.end()
    assert run.process.returncode != 0
    finished(clone)


def test_a_killed_snakemake_needs_no_unlock(clone: Path) -> None:
    run = training(clone).until("update 5 of 12")
    run.part("Snakemake").kill()
    finished(clone)


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_from_the_keyboard(clone: Path, times: int) -> None:
    run = training(clone).until("update 5 of 12")
    for _ in range(times):
        os.killpg(run.process.pid, signal.SIGINT)
    failed(run, "Start the same command again to resume it")
    finished(clone, saved(clone))


def test_a_termination_signal(clone: Path) -> None:
    run = training(clone).until("update 5 of 12")
    run.part("the step").terminate()
    failed(run, "was stopped by SIGTERM. Start the same command again to resume it")
    finished(clone, saved(clone))


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Callable[[], None]]:
    """Mount a small, empty file system at a folder; the yielded function fills it."""
    folder.mkdir(parents=True, exist_ok=True)
    filler = folder / ".filler"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)

    def fill() -> None:
        with suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(1 << 16)):
                pass

    try:
        yield fill
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@root
@pytest.mark.parametrize("update", [1, 2, 3])
def test_a_full_disk_while_the_state_is_written(clone: Path, update: int) -> None:
    """A checkpoint follows update 2; responses are written in every update."""
    with small_disk(clone / RESULTS / "state", 400) as fill:
        run = training(clone).until(f"update {update} of 12")
        fill()
        failed(run, "No space left on device", "tart the same command again")
        (clone / RESULTS / "state/.filler").unlink()
        finished(clone, saved(clone))


@root
def test_a_full_disk_while_a_parquet_is_written(clone: Path) -> None:
    with small_disk(clone / RESULTS / "rollouts", 40) as fill:
        run = training(clone).until("update 5 of 12")
        fill()
        failed(run, "No space left on device", "tart the same command again")
        (clone / RESULTS / "rollouts/.filler").unlink()
        assert "all updates are trained; writing the results again" in finished(clone)


@root
def test_a_full_disk_that_also_holds_the_logs(clone: Path) -> None:
    """The usual case: all results are on one disk, and the message can only go to the console."""
    with small_disk(clone / RESULTS, 600) as fill:
        run = training(clone).until("update 3 of 12")
        fill()
        failed(run, "No space left on device", "tart the same command again")
        (clone / RESULTS / ".filler").unlink()
        finished(clone, saved(clone))


@root
def test_a_results_folder_that_is_not_writable(clone: Path) -> None:
    folder = clone / RESULTS
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        run = training(clone)
        text = run.end()
        assert run.process.returncode != 0
        assert "results/faults is not writable" in text and "Traceback" not in text, text[-3000:]
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    finished(clone, 0)


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("harm", [flip, lambda file: os.truncate(file, 100)], ids=["flipped", "truncated"])
@pytest.mark.parametrize("part", ["_actor", "_critic"])
def test_a_damaged_checkpoint(clone: Path, part: str, harm: Callable[[Path], None]) -> None:
    run = training(clone).until("update 7 of 12")
    run.part("the step").terminate()
    run.end()
    last = saved(clone)
    (folder,) = (clone / RESULTS / "state").glob(f"rlvr-*/checkpoints/{part}/global_step{last}")
    harm(max(folder.rglob("*.pt"), key=lambda file: file.stat().st_size))
    text = finished(clone, last - 2)
    assert f"the checkpoint after update {last} is damaged and was not used: the content of {folder}" in text


def test_training_that_diverges(clone: Path) -> None:
    run = training(clone, "--config", "arms={rlvr: {actor_learning_rate: 1.0e+25, warmup_ratio: 0.0}}")
    failed(run, "training diverged, so it was stopped: ", "with other random numbers")
    assert "starts from scratch, because this differs" in finished(clone, 0)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise KeyError('units')", "KeyError: 'units'"),
        ("return float('nan')", "from -10 to 10, but this is nan"),
        ("return 'good'", "but this is 'good'"),
    ],
)
def test_a_reward_that_fails_on_some_responses(clone: Path, body: str, told: str) -> None:
    """It passes the check of rewards before a run, and fails on what a model writes."""
    (clone / "bad_reward.py").write_text(
        "def reward(grade):\n"
        "    if grade.chars_before_think + grade.think_chars > 25 and grade.chars_after_answer == 0:\n"
        f"        {body}\n"
        "    return 0.0\n"
    )
    run = training(clone, "--config", "arms={rlvr: {reward: {bad_reward.py: 1}}}")
    failed(run, "the reward failed, so training was stopped", told)
    finished(clone, 0)


def test_a_second_run_is_rejected_by_name(clone: Path) -> None:
    long = ("--config", "arms={rlvr: {episodes: 60}}")
    run = training(clone, *long).until("update 3 of 120")
    second = training(clone, *long)
    text = second.end()
    assert second.process.returncode != 0
    assert "results/faults is in use by snakemake --cores 2 --configfile config/miniature.yaml" in text
    assert f"process {run.process.pid} on {os.uname().nodename}, since " in text and "--unlock" not in text
    run.part("the step").terminate()
    failed(run, "Start the same command again to resume it")


def test_a_changed_setting_restarts_training_and_is_named(clone: Path) -> None:
    run = training(clone).until("update 5 of 12")
    run.part("the step").terminate()
    run.end()
    changed = training(clone, "--config", "arms={rlvr: {kl_coefficient: 0.5}}").until("starts from scratch")
    changed.part("the step").terminate()
    assert "kl_coefficient is 0.5 instead of " in changed.end()
    finished(clone, saved_of_the_first(clone))


def saved_of_the_first(clone: Path) -> int:
    """Return the last complete update of the oldest state."""
    oldest = min((clone / RESULTS / "state").glob("rlvr-*"), key=lambda folder: (folder / "run.json").stat().st_mtime)
    steps = [path.parent.name for path in oldest.glob("checkpoints/global_step*_hf/sha256.json")]
    return max(int(name.removeprefix("global_step").removesuffix("_hf")) for name in steps)


def test_the_settings_of_this_experiment_have_partial_updates() -> None:
    values = yaml.safe_load(Path("tests/faults.yaml").read_text(encoding="utf-8"))
    arm, world = values["arms"]["rlvr"], values["miniature"]
    assert world["train"] % arm["prompts_per_update"] and arm["save_every"] == 2
