"""The check of a new GPU: its rows, what they compare, and a rehearsal of the whole check on a CPU."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from pipeline import copy_of_the_commit, snakemake

from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.gpu_check.answers_row import requests
from medrlvr.gpu_check.card import MemoryRecord, not_locked, read_card, versions
from medrlvr.gpu_check.check import read_minutes, render_table
from medrlvr.gpu_check.ppo_row import PpoPlan, compare_memory, plan_ppo, read_presets, training_operations
from medrlvr.gpu_check.random_model import vocabulary
from medrlvr.gpu_check.rows import Figure, Measured, NotApplicableError, Row, run_rows
from medrlvr.gpu_check.training_row import compare_curves, read_curve
from medrlvr.models.shape import known_shape
from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.memory_watch import memory_limit
from medrlvr.training import phase_watch
from medrlvr.training.memory.phases import GIB, phases
from medrlvr.training.patching import PinnedSourceError

PAPER = Experiment()
SHAPES = {name: known_shape(f"Qwen/{name}") for name in ("Qwen2.5-3B", "Qwen2.5-1.5B", "Qwen2.5-0.5B")}
ARM = PAPER.arms["rlvr"].model_copy(update={"prompts_per_update": 8, "train_batch_size": 64})


def row(name: str, measure: Callable[..., Measured], seconds: float = 0) -> Row:
    return Row(name, f"title of {name}", seconds, measure)


def passes(numbers) -> Measured:
    return Measured([Figure("a", "1", "1", True)], {"a": 1.0})


def run(rows: list[Row], folder: Path, key: str = "k", minutes: float | None = None) -> dict[str, str]:
    results = run_rows(rows, folder, key, minutes, lambda line: None)
    assert [result.name for result in results] == [one.name for one in rows]
    return {result.name: result.outcome for result in results}


def test_a_row_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    def raises(error: Exception) -> Callable[..., Measured]:
        def measure(numbers) -> Measured:
            raise error

        return measure

    rows = [
        row("user", raises(UserError("the training failed"))),
        row("bug", raises(ZeroDivisionError("x"))),
        row("absent", raises(NotApplicableError("there is no GPU"))),
        row("off", lambda numbers: Measured([Figure("a", "2", "1", False), Figure("b", "3")])),
        row("good", passes),
    ]
    outcomes = run(rows, tmp_path)
    assert [*outcomes.values()] == ["failed", "failed", "not applicable", "failed", "passed"]
    notes = {file.stem: json.loads(file.read_text())["note"] for file in tmp_path.glob("*.json")}
    assert notes["user"] == "the training failed" and notes["bug"] == "ZeroDivisionError: x"
    assert notes["absent"] == "there is no GPU" and notes["off"] == notes["good"] == ""


def test_each_row_is_saved_before_the_next_starts(tmp_path: Path) -> None:
    def second(numbers) -> Measured:
        assert json.loads((tmp_path / "first.json").read_text())["outcome"] == "passed"
        return Measured([Figure("the number of the first row", str(numbers["first"]["a"]), "1.0", True)])

    assert run([row("first", passes), row("second", second)], tmp_path) == {"first": "passed", "second": "passed"}


def test_only_rows_that_passed_with_the_same_code_and_machine_are_kept(tmp_path: Path) -> None:
    ran: list[str] = []

    def counted(name: str, figure: Figure) -> Row:
        def measure(numbers) -> Measured:
            ran.append(name)
            return Measured([figure], {"a": 2.0})

        return row(name, measure)

    rows = [counted("good", Figure("a", "1")), counted("bad", Figure("a", "1", "2", False))]
    run(rows, tmp_path)
    run(rows, tmp_path)
    assert ran == ["good", "bad", "bad"]
    run(rows, tmp_path, key="another GPU")
    assert ran[3:] == ["good", "bad"]
    (tmp_path / "good.json").write_text("{")
    run(rows[:1], tmp_path, key="another GPU")
    assert ran[5:] == ["good"], "a half-written file is not a result"


def test_rows_that_do_not_fit_into_the_time_are_marked(tmp_path: Path) -> None:
    began = time.monotonic()
    rows = [
        row("long", passes, seconds=100),
        row("hangs", lambda numbers: threading.Event().wait(60) and passes(numbers), seconds=0.1),
        row("after", passes, seconds=1),
    ]
    outcomes = run(rows, tmp_path, minutes=0.5 / 60)
    assert set(outcomes.values()) == {"not run: time"} and time.monotonic() - began < 30
    notes = {file.stem: json.loads(file.read_text())["note"] for file in tmp_path.glob("*.json")}
    assert notes["long"].startswith("it needs about 1 min 40 s") and notes["hangs"].startswith("it was stopped after")
    assert run(rows[2:], tmp_path) == {"after": "passed"}, "the next run, without a limit, runs it"


def test_a_signal_ends_the_check_and_keeps_the_rows_before_it(tmp_path: Path) -> None:
    def signalled(numbers) -> Measured:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(60)
        return passes(numbers)

    with pytest.raises(Interrupted):
        run([row("first", passes), row("second", signalled)], tmp_path, minutes=10)
    assert [file.stem for file in tmp_path.glob("*.json")] == ["first"]


def test_a_time_limit_is_a_positive_number() -> None:
    assert read_minutes("8") == 8 and read_minutes("0.5") == 0.5 and read_minutes("") is read_minutes(None) is None
    for wrong in ("abc", "0", "-3", "nan", "inf"):
        with pytest.raises(UserError, match=rf"MINUTES is '{wrong}'; it must be a positive number"):
            read_minutes(wrong)


def curve(level: float, spread: float, runs: int = 8) -> pd.DataFrame:
    source = np.random.default_rng(1)
    rows = [
        {"seed": seed, "update": update, "reward": level + 0.02 * update + offset}
        for seed, offset in enumerate(source.normal(0, spread, runs))
        for update in range(1, 13)
    ]
    return pd.DataFrame(rows)


def test_a_curve_like_those_of_the_cpu_passes_and_a_different_one_fails() -> None:
    reference = curve(-0.6, 0.02)
    like = [-0.61 + 0.02 * update for update in range(1, 13)]
    figures = compare_curves(reference, like)
    assert [figure.passed for figure in figures] == [True, True]
    higher = compare_curves(reference, [reward + 0.2 for reward in like])
    assert higher[0].passed is False, "another level"
    flat = compare_curves(curve(-0.6, 0.02), [float(np.mean(like))] * 12)
    assert flat[0].passed and flat[1].passed is False, "the same level without the gain"


def test_the_shipped_curve_has_every_update_of_every_seed() -> None:
    facts, table = read_curve(Path("assets/gpu_check/curve.tsv"))
    assert set(facts) == {"key", "commit"} and len(facts["commit"]) == 40
    assert table.groupby("seed").size().tolist() == [12] * table["seed"].nunique() and table["seed"].nunique() >= 5
    assert table["reward"].between(-1, 1).all()


def card(gib: float) -> SimpleNamespace:
    return SimpleNamespace(gib=gib)


def test_the_preset_is_that_of_the_card_and_the_shape_is_the_largest_that_fits() -> None:
    presets = read_presets(sorted(Path("config/presets").glob("*.yaml")))
    large = plan_ppo(card(140.4), presets, SHAPES, ARM, 256 * GIB)
    assert (large.source, large.shape_name) == ("h200_x1", "Qwen2.5-3B")
    middle = plan_ppo(card(79.6), presets, SHAPES, ARM, 256 * GIB)
    assert (middle.source, middle.shape_name) == ("h100_80gb_x1", "Qwen2.5-3B")
    little_host = plan_ppo(card(79.6), presets, SHAPES, ARM, 100 * GIB)
    assert little_host.shape_name == "Qwen2.5-1.5B", "the offloaded optimiser of 3B needs more host memory"
    with pytest.raises(NotApplicableError, match=r"no shape fits: .*10 GiB of host memory"):
        plan_ppo(card(79.6), presets, SHAPES, ARM, 10 * GIB)
    with pytest.raises(NotApplicableError, match=r"one GPU of 15 GiB; there are .*h100_80gb_x1 \(79\.1 GiB\)"):
        plan_ppo(card(15), presets, SHAPES, ARM, 256 * GIB)


def plan() -> PpoPlan:
    presets = read_presets([Path("config/presets/h200_x1.yaml")])
    return PpoPlan("Qwen2.5-3B", SHAPES["Qwen2.5-3B"], presets["h200_x1"], "h200_x1", ARM)


def test_memory_is_compared_phase_by_phase_with_the_planner() -> None:
    planned = {one.name: one.total for one in phases(SHAPES["Qwen2.5-3B"], ARM, plan().machine)}
    actor = max(size for name, size in planned.items() if name.startswith("actor"))
    measured = {
        "generation": round(planned["generation"] * 1.1),
        "actor": round(actor * 0.8),
        "weights to the engine": round(planned["weights to the engine"] * 1.2),
    }
    figures = {figure.what: figure for figure in compare_memory(measured, plan())}
    assert [figure.passed for figure in figures.values()] == [True, False, False]
    assert figures["peak memory, actor"].expected.endswith("0.80 of it")


def test_every_phase_that_is_recorded_is_planned() -> None:
    names = {one.name.split(",")[0] for one in phases(SHAPES["Qwen2.5-3B"], ARM, plan().machine)}
    recorded = {
        phase_watch.GENERATION,
        phase_watch.SCORING,
        phase_watch.CRITIC,
        phase_watch.ACTOR,
        phase_watch.WEIGHTS,
    }
    assert recorded == names


def test_operations_are_counted_as_the_plan_counts_them() -> None:
    """Three models score; two are trained, with one more forward pass each for the activations."""
    assert training_operations(plan()) == (3 * 2 + 2 * 8) * SHAPES["Qwen2.5-3B"].parameters


class Trainer:
    def ppo_train(self, value: int) -> int:
        return value + 1


def test_a_phase_is_recorded_without_changing_the_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "phases.jsonl"
    monkeypatch.setenv(phase_watch.VARIABLE, str(file))
    module = ModuleType("some.module")
    module.__file__ = "some/module.py"
    module.CriticPPOTrainer = type("CriticPPOTrainer", (Trainer,), {})
    phase_watch.PATCHES["openrlhf.trainer.ray.ppo_critic"].after(module)
    assert module.CriticPPOTrainer().ppo_train(1) == 2 and module.CriticPPOTrainer().ppo_train(value=2) == 3
    table = phase_watch.read_phases(file)
    assert table["phase"].tolist() == ["critic", "critic"] and (table["end"] >= table["start"]).all()


def test_another_version_of_openrlhf_is_rejected() -> None:
    module = ModuleType("some.module")
    module.__file__ = "some/module.py"
    with pytest.raises(PinnedSourceError, match=r"no ActorPPOTrainer\.ppo_train"):
        phase_watch.PATCHES["openrlhf.trainer.ray.ppo_actor"].after(module)


def test_the_patches_of_a_run_stay() -> None:
    found = phase_watch.variables(Path("x"), {"MEDRLVR_PATCHES": "resume.patches flash_attn"})
    assert found["MEDRLVR_PATCHES"] == "resume.patches flash_attn phase_watch"


def library(devices: dict[str, int]) -> ModuleType:
    """NVIDIA's library with one device for each name, which has that many GiB."""
    fake = ModuleType("pynvml")
    names = [*devices]
    fake.nvmlInit = fake.nvmlShutdown = lambda: None
    fake.nvmlDeviceGetCount = lambda: len(names)
    fake.nvmlDeviceGetHandleByIndex = lambda index: names[index]
    fake.nvmlDeviceGetHandleByUUID = lambda uuid: uuid.decode().removeprefix("GPU-")
    fake.nvmlDeviceGetCudaComputeCapability = lambda handle: (9, 0)
    fake.nvmlDeviceGetName = lambda handle: handle
    fake.nvmlDeviceGetMemoryInfo = lambda handle: SimpleNamespace(
        total=devices[handle] * 2**30, used=devices[handle] * 2**20
    )
    fake.nvmlSystemGetDriverVersion = lambda: b"580.1"
    return fake


@pytest.mark.parametrize(
    ("visible", "name"), [(None, "first"), ("1", "second"), ("GPU-second,GPU-first", "second"), ("7", "second")]
)
def test_the_card_is_the_one_that_the_job_may_use(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library({"first": 80, "second": 140}))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = read_card(Machine(device="gpu"))
    assert found is not None
    assert (found.name, found.gib, found.driver, found.capability) == (
        name,
        {"first": 80, "second": 140}[name],
        "580.1",
        "9.0",
    )
    assert read_card(Machine(device="cpu")) is None


def test_the_memory_of_a_phase_is_the_largest_reading_within_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library({"first": 80}))
    with MemoryRecord(Machine(device="gpu")) as record:
        end = time.monotonic() + 10
        while not record.readings and time.monotonic() < end:
            time.sleep(0.05)
    assert record.readings[0][1] == 80 * 2**20
    record.readings = [(1.0, 5), (2.0, 9), (3.0, 7), (10.0, 99)]
    rows = [("actor", 0.5, 1.5), ("actor", 2.5, 3.5), ("critic", 1.6, 2.4), ("scoring", 4.0, 9.0)]
    table = pd.DataFrame(rows, columns=["phase", "start", "end"])
    assert record.peaks(table) == {"actor": 7, "critic": 9}


def test_the_memory_limit_is_that_of_the_control_group(tmp_path: Path) -> None:
    group = tmp_path / "job"
    group.mkdir()
    for name, text in (("memory.current", "5"), ("memory.max", "1000"), ("memory.stat", "inactive_file 1\n")):
        (group / name).write_text(text)
    membership = tmp_path / "membership"
    membership.write_text("0::/job\n")
    assert memory_limit(tmp_path, membership) == 1000
    assert memory_limit(tmp_path, tmp_path / "absent") > 10**9


def test_every_token_of_a_random_model_has_a_text() -> None:
    tokens = vocabulary(1000)
    assert sorted(tokens.values()) == [*range(1000)] and tokens["<|endoftext|>"] == 999


def test_answers_are_timed_in_three_shards() -> None:
    asked = requests(20)
    assert asked.groupby("shard", sort=False).size().to_dict() == {"warm-up": 16, "direct": 20, "chain_of_thought": 20}
    assert asked["question_id"].is_unique and asked["prompt"].map(len).eq(340).all()


def test_the_table_shows_every_row_and_marks_what_is_not_as_expected() -> None:
    figures = [
        {"what": "a|b", "value": "1", "expected": "2", "passed": False},
        {"what": "c", "value": "3", "expected": "", "passed": None},
    ]
    rows = [
        {"name": "x", "title": "X", "outcome": "failed", "seconds": 1.0, "figures": figures, "numbers": {}},
        {"name": "y", "title": "Y", "outcome": "not run: time", "seconds": 0.0, "figures": [], "numbers": {}},
    ]
    full = [{"note": note, "key": "k", **one} for note, one in zip(("", "two\nlines"), rows, strict=True)]
    report = {
        "made": "now",
        "code": "c",
        "host": "h",
        "software": {"torch": "2"},
        "gpu": {"name": "none"},
        "rows": full,
    }
    text = render_table(report | {"not_locked": []})
    assert "Software: torch 2. These are the versions of the lock file." in text
    other = render_table(report | {"not_locked": ["torch 2 instead of 3"]})
    assert "not for those of the lock file: torch 2 instead of 3." in other
    assert "| X | failed | 1 s | a\\|b | 1 (not as expected) | 2 |" in text
    assert "| Y | not run: time | 0 s | two lines | | |" in text


def test_versions_other_than_the_locked_ones_are_named() -> None:
    found = {"python": "3.12.3", "torch": "2.11.0+cu130", "vllm": "0.26.0", "ray": "2.55.0", "flash-attn": "2.8.3"}
    different = not_locked(found, Path("envs/gpu.lock"))
    assert different == ["torch 2.11.0 instead of 2.13.0", "vllm 0.26.0 instead of 0.29.0"]
    assert not_locked(versions("cpu"), Path("envs/cpu.lock")) == []


@pytest.mark.slow
@pytest.mark.extended
def test_the_whole_check_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    """Every row but those of the card passes, the rates can be used, and a second run repeats nothing that passed."""
    copy = copy_of_the_commit(tmp_path)
    overlays = ["--configfile", "config/miniature.yaml", "config/gpu_check.yaml"]
    command = [*overlays, "--", "results/gpu_check/report.json"]
    first = snakemake(*command, cwd=copy)
    assert first.returncode == 0, first.stdout + first.stderr
    report = json.loads((copy / "results/gpu_check/report.json").read_text())
    assert {one["name"]: one["outcome"] for one in report["rows"]} == {
        "facts": "not applicable",
        "optimiser": "not applicable",
        "training": "passed",
        "answers": "passed",
        "ppo": "passed",
        "precision": "passed",
        "planner": "passed",
        "settings": "not applicable",
    }
    figures = {figure["what"] for figure in report["rows"][2]["figures"]}
    assert "mean reward of all updates" in figures, "the shipped curve is of this miniature: run `make gpu-curve`"
    assert "training_tflops" in (copy / "results/gpu_check/rates.yaml").read_text()
    again = snakemake(*overlays, "--forcerun", "gpu_check", "--", "results/gpu_check/report.json", cwd=copy)
    assert again.returncode == 0 and "update 1 of 12" not in again.stdout + again.stderr
