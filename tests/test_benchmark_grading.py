"""benchmarks/grading.py calls the reward hook as a training run does; the times themselves are not tested."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


def test_the_hook_is_measured_on_the_responses_of_the_last_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("benchmark_grading", "benchmarks/grading.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    for name in ("MEDRLVR_ROLLOUTS", "MEDRLVR_REWARD", "MEDRLVR_END_OF_TEXT", "MEDRLVR_EVIDENCE"):
        monkeypatch.setenv(name, "")  # the benchmark sets them, and monkeypatch restores them
    rewards: list[float] = []

    def once(call: Callable[[], list[dict[str, float]]], repeats: int) -> float:
        rewards.extend(found["rewards"] for found in call())
        return 0.032

    monkeypatch.setattr(benchmark, "RESULTS", tmp_path)
    monkeypatch.setattr(benchmark, "seconds_each", once)
    for folder in ("prompts", "dynamics/rlvr", "rollouts/rlvr/seed1"):
        (tmp_path / folder).mkdir(parents=True)
    labels = [json.dumps({"question_id": f"q{n}", "options": ["iron", "zinc"], "gold": 1}) for n in range(2)]
    prompts = [json.dumps({"input": f"Q{n}:", "label": label}) for n, label in enumerate(labels)]
    (tmp_path / "prompts/rlvr.jsonl").write_text("\n".join(prompts), encoding="utf-8")
    rows = [(1, "q0", "early"), (2, "q0", "<think> x </think><answer> B </answer>"), (2, "q1", "B")]
    table = pd.DataFrame(rows, columns=["update", "question_id", "response"])
    table.to_parquet(tmp_path / "rollouts/rlvr/seed1/rollouts.parquet")
    pd.DataFrame({"seconds": [1.0, 2.0, 3.0]}).to_parquet(tmp_path / "dynamics/rlvr/seed1.parquet")
    text = benchmark.of_a_step()
    assert rewards == [1.0, -1.0]
    assert "needs 16000 us to grade" in text and "has 2 responses and a median duration of 2.0 s" in text
    assert "needs 1.60 % of it" in text
