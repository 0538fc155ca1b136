"""Fingerprints of the reference run beyond table, grader and reward: prompts, settings, evaluation modes, code."""

from pathlib import Path

import pytest

from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.reference import fingerprints
from medrlvr.runtime.files import write_text

BASE = Path("assets/miniature_base")


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return read_overlays(["config/miniature.yaml", "config/reference.yaml"])


def changed(experiment: Experiment, other: Experiment, arm: str) -> set[str]:
    """Return the names of the fingerprints in which two experiments differ."""
    found, theirs = (fingerprints.fingerprints(one, BASE, one.arms.get(arm)) for one in (experiment, other))
    return {name for name in found | theirs if found.get(name) != theirs.get(name)}


def test_an_edited_prompt_is_another_world(experiment: Experiment, tmp_path: Path) -> None:
    same, edited = tmp_path / "same.txt", tmp_path / "edited.txt"
    template = Path(experiment.prompts.chain_of_thought).read_text(encoding="utf-8")
    write_text(same, template)
    write_text(edited, f"Read this. {template}")
    for path, expected in ((same, set()), (edited, {"world"})):
        prompts = experiment.prompts.model_copy(update={"chain_of_thought": str(path)})
        other = experiment.model_copy(update={"prompts": prompts})
        assert changed(experiment, other, "rlvr") == expected


@pytest.mark.parametrize(
    ("arm", "update", "expected"),
    [
        ("sft", {"learning_rates": (5e-4,)}, {"settings"}),
        ("sft", {"seeds": (1, 2)}, set()),
        ("rlvr", {"kl_coefficient": 0.02}, {"settings"}),
        ("rlvr", {"reward": {"paper": 2.0}}, {"settings"}),
        ("rlvr", {"reward": "binary"}, {"settings", "reward"}),
    ],
)
def test_the_settings_of_an_arm_count_but_not_its_seeds(
    experiment: Experiment, arm: str, update: dict[str, object], expected: set[str]
) -> None:
    arms = experiment.arms | {arm: experiment.arms[arm].model_copy(update=update)}
    assert changed(experiment, experiment.model_copy(update={"arms": arms}), arm) == expected


@pytest.mark.parametrize("arm", ["base", "sft", "rlvr"])
def test_an_evaluation_mode_counts_for_the_models_that_use_it(experiment: Experiment, arm: str) -> None:
    modes = experiment.modes | {"direct": experiment.modes["direct"].model_copy(update={"max_tokens": 3})}
    assert changed(experiment, experiment.model_copy(update={"modes": modes}), arm) == {"settings"}
    unused = experiment.modes | {"mine": experiment.modes["direct"]}
    assert changed(experiment, experiment.model_copy(update={"modes": unused}), arm) == set()


def test_code_that_cannot_change_a_model_does_not_count(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in fingerprints._NO_EFFECT:
        assert (fingerprints._TRAINING / name).exists(), name
    monkeypatch.setattr(fingerprints, "_TRAINING", tmp_path)
    found = []
    for name in ("rlvr.py", "disk.py", "memory/fit.py", "cpu/adapter.py"):
        write_text(tmp_path / name, "x = 1\n")
        found.append(fingerprints.training_version(experiment))
    assert found[0] == found[1] == found[2] != found[3]
