"""Fingerprints of the reference run beyond table, grader and reward: prompts, settings, evaluation modes, code."""

import hashlib
import json
from pathlib import Path

import pytest

from medrlvr.config.arms import LATER_KEYS, RlvrArm, SftArm, training_settings
from medrlvr.config.experiment import Experiment
from medrlvr.config.load import read_overlays
from medrlvr.data.miniature.world import QUESTION_SETS, make_questions
from medrlvr.data.prompts import Renderer
from medrlvr.grading.letters import LETTERS
from medrlvr.reference import fingerprints
from medrlvr.reference.pooled import find_unequal
from medrlvr.runtime.files import write_text
from medrlvr.training.openrlhf import HOOK, NOWHERE, rlvr_arguments, sft_arguments

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


def test_earlier_code_of_the_world_in_the_list_gives_the_same_questions_prompts_and_rows(
    experiment: Experiment,
) -> None:
    """The digest is that of the code with the fingerprint in EQUAL_WORLDS, computed before it changed."""
    assert {"84698f163059147e"} == fingerprints.EQUAL_WORLDS
    prompts, digest = experiment.prompts, hashlib.sha256()
    renderer = Renderer(prompts.question, **{mode: experiment.template(mode) for mode in experiment.modes})
    sizes = {name: size for name, size in experiment.miniature.model_dump().items() if name in QUESTION_SETS}
    for split, rows in make_questions(sizes, experiment.miniature.seed).items():
        for row in rows:
            question = {"question_id": split, "stem": row["question"], "options": [*row["options"].values()]}
            question["gold"] = LETTERS.index(row["answer_idx"])
            rendered = [renderer.prompt(question, mode) for mode in experiment.modes]
            digest.update(
                json.dumps([question, renderer.sft_row(question), renderer.rlvr_row(question), rendered]).encode()
            )
    assert digest.hexdigest() == "ae6554e4319e95301c5be52b071f3e9a97e09412dc1ea834650bc6ffbf81780d"


def test_earlier_code_of_the_world_in_the_list_is_pooled_and_other_code_is_not(experiment: Experiment) -> None:
    present = fingerprints.world_version(experiment)
    versions = {"a": next(iter(fingerprints.EQUAL_WORLDS)), "b": present, "c": "x"}
    records = {
        name: {"arm": "rlvr", "fingerprints": {"world": one, "base": "b", "training": "t"}}
        for name, one in versions.items()
    }
    assert find_unequal(records, present, experiment) == {"c": ["world"]}


def test_earlier_training_code_in_the_list_gives_the_trainer_the_same_command_lines(experiment: Experiment) -> None:
    """The golden lines are those of the code with the fingerprint in EQUAL_TRAININGS, written before it changed."""
    golden = json.loads(Path("tests/golden/reference_commands.json").read_text(encoding="utf-8"))
    assert set(golden) == set(experiment.arms)
    for name, arm in experiment.arms.items():
        if isinstance(arm, RlvrArm):
            found = rlvr_arguments(arm, experiment.machine, 1, NOWHERE)
        else:
            found = sft_arguments(arm, arm.learning_rates[0], experiment.machine, 1, NOWHERE, save_every=55)
        assert " ".join(word if word != str(HOOK) else HOOK.name for word in found) == golden[name], name


def test_earlier_training_code_in_the_list_is_pooled_and_current_and_other_code_is_not(experiment: Experiment) -> None:
    versions = {"a": next(iter(fingerprints.EQUAL_TRAININGS)), "b": fingerprints.training_version(experiment), "c": "x"}
    records = {
        name: {"arm": "rlvr", "fingerprints": {"world": "w", "base": "b", "training": one}}
        for name, one in versions.items()
    }
    assert find_unequal(records, "w", experiment) == {"c": ["training"]}
    for name, same in (("a", True), ("b", True), ("c", False)):
        found = fingerprints.comparable(records[name]["fingerprints"], experiment)
        assert (found["training"] == versions["b"]) is same


def test_a_later_key_counts_only_with_another_than_its_neutral_value() -> None:
    """Otherwise a new key would outdate every finished run, whose training it does not change."""
    arms = {"sft": SftArm(trainer="sft"), "rlvr": RlvrArm(trainer="rlvr", reward="paper")}
    assert set(LATER_KEYS) <= {key for arm in arms.values() for key in type(arm).model_fields}
    for arm in arms.values():
        mine = {key: value for key, value in LATER_KEYS.items() if key in type(arm).model_fields}
        assert arm == arm.model_copy(update=mine), "the neutral value is the default"
        assert not set(training_settings(arm)) & set(LATER_KEYS)
    assert training_settings(arms["rlvr"].model_copy(update={"labels": "wrong"}))["labels"] == "wrong"


def test_the_settings_of_the_shipped_runs_are_still_the_present_ones(experiment: Experiment) -> None:
    shipped = sorted(Path("docs/reference/reference").glob("*/seed1/run.json"))
    assert shipped
    for file in shipped:
        record = json.loads(file.read_text(encoding="utf-8"))
        found = fingerprints.fingerprints(experiment, BASE, experiment.arms[record["arm"]])
        assert record["fingerprints"]["settings"] == found["settings"], file
        assert fingerprints.comparable(record["fingerprints"], experiment)["training"] == found["training"], file
