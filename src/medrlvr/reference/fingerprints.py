"""Fingerprints of everything that determines a run of the reference: only runs with equal ones are pooled."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from medrlvr.config.arms import Arm, RlvrArm, without_neutral
from medrlvr.config.experiment import Experiment
from medrlvr.data import documents, prompts
from medrlvr.data.miniature import corpus, loopholes, world
from medrlvr.data.miniature.version import FACTS, evidence_version
from medrlvr.grading.version import grader_version, terms_version
from medrlvr.models.folder import weights_digest
from medrlvr.runtime.environment import ENGINE_PACKAGE
from medrlvr.runtime.fingerprint import fingerprint
from medrlvr.runtime.text import read_text

PACKAGES = ("torch", "transformers", "openrlhf", "deepspeed")
_TRAINING = Path(__file__).parents[1] / "training"
_NO_EFFECT = (
    "memory",
    "cluster",
    "disk.py",
    "ports.py",
    "ray_start.py",
    "walltime.py",
    "phase_watch.py",
    "surprisal.py",
    "publish.py",
)
"""Files and folders of `training` that do not change a model trained on a CPU: checks, progress, moving of files."""
_PRETRAINING = (Path(world.__file__).with_name("base_model.py"), Path(prompts.__file__).with_name("pretraining.py"))

GRADING = ("grader", "evidence")
"""Fingerprints of the code that grades stored answers. After a change, the answers are graded again."""

EQUAL_GRADERS = frozenset({"0ca09b27c5c1cab6", "4d1738b3d79c3fee"})
"""Fingerprints of earlier graders that gave all shipped rollouts the rewards that the present grader gives them.

tests/test_reference.py computes these rewards again.
"""

EQUAL_TRAININGS = frozenset({"594cc81f211891e8"})
"""Fingerprints of earlier training code that trains every arm of the reference as the present code does.

tests/test_reference_fingerprints.py compares the trainer's command lines, with all options, with those of the earlier
code, and tests/test_rollouts.py checks the hook's rewards without a replaced label.
"""

EQUAL_WORLDS = frozenset({"84698f163059147e"})
"""Fingerprints of earlier code of the world and its prompts that gives the reference the same questions and rows.

tests/test_reference_fingerprints.py compares them, with all prompts, with those of the earlier code.
"""


def world_version(experiment: Experiment) -> str:
    """Return the fingerprint of the world: its table and code, the numbers and seed of its questions, and its prompts.

    The prompts are the texts of the templates and the code that fills them. If the training questions have a planted
    cue, the set's name and the code that plants it are added.
    """
    drawn = experiment.miniature.model_dump(mode="json", exclude={"pretraining_steps", "direct_answers"})
    facts = hashlib.sha256(FACTS.read_bytes()).hexdigest()
    code = fingerprint(inspect.getsource(world), inspect.getsource(prompts))
    given = experiment.prompts
    texts = [read_text(path) for path in (given.question, given.direct, given.chain_of_thought)]
    other = {read_text(experiment.template(mode)) for mode in experiment.modes} - {*texts}
    trained = experiment.data.train
    cue = [trained, fingerprint(inspect.getsource(loopholes))] if trained in loopholes.planted_sets() else []
    return _short(code, facts, json.dumps(drawn, sort_keys=True), *texts, *sorted(other), *cue)


def training_version(experiment: Experiment) -> str:
    """Return the fingerprint of the code that trains: ours without `_NO_EFFECT`, and the versions of the packages."""
    files = [file for file in sorted(_TRAINING.rglob("*.py")) if file.relative_to(_TRAINING).parts[0] not in _NO_EFFECT]
    ours = fingerprint(*(file.read_text(encoding="utf-8") for file in files))
    packages = [f"{name} {version(name)}" for name in (*PACKAGES, ENGINE_PACKAGE[experiment.machine.device])]
    return _short(ours, *packages)


def pretraining_version(experiment: Experiment) -> str:
    """Return the fingerprint of what determines a base that the workflow pre-trains."""
    # These modules are read and not imported, because they import torch.
    read = (file.read_text(encoding="utf-8") for file in _PRETRAINING)
    code = fingerprint(inspect.getsource(corpus), inspect.getsource(documents), *read)
    return _short(code, experiment.miniature.model_dump_json(include={"seed", "pretraining_steps", "direct_answers"}))


def comparable(found: Mapping[str, str], experiment: Experiment) -> dict[str, str]:
    """Return the fingerprints under which a run is compared.

    They are the present ones for code in EQUAL_WORLDS, EQUAL_GRADERS or EQUAL_TRAININGS.
    """
    equal: dict[str, tuple[frozenset[str], Callable[[], str]]] = {
        "world": (EQUAL_WORLDS, lambda: world_version(experiment)),
        "grader": (EQUAL_GRADERS, lambda: grader_version()),
        "training": (EQUAL_TRAININGS, lambda: training_version(experiment)),
    }
    present = {name: now() for name, (versions, now) in equal.items() if found.get(name) in versions}
    return {**found, **present}


def grading_versions() -> dict[str, str]:
    """Return the fingerprints of GRADING."""
    return dict(zip(GRADING, (grader_version(), evidence_version()), strict=True))


def fingerprints(experiment: Experiment, base: Path, arm: Arm | None) -> dict[str, str]:
    """Return what determines the graded answers of one model.

    Args:
        base: folder of the base model.
        arm: the model's arm; None for the base itself.

    Returns:
        world, base, settings (of the arm, its learning rates included, and of its evaluation modes), grader, evidence;
        if the workflow pre-trains the base, pretraining; for a trained model training (code); for RLVR reward (its
        terms; the settings contain its weights).
    """
    found = {"world": world_version(experiment), "base": weights_digest(base)}
    found["settings"] = _settings_version(experiment, arm)
    found |= grading_versions()
    if experiment.base.source == "rebuilt":
        found["pretraining"] = pretraining_version(experiment)
    if arm is not None:
        found["training"] = training_version(experiment)
    if isinstance(arm, RlvrArm):
        found["reward"] = terms_version(arm.reward)
    return found


def _settings_version(experiment: Experiment, arm: Arm | None) -> str:
    modes = arm.modes if arm else experiment.base.modes
    settings = {
        "arm": without_neutral(arm.model_dump(mode="json", exclude={"seeds"})) if arm else None,
        "modes": {mode: experiment.modes[mode].model_dump(mode="json") for mode in modes},
        "prompt_max_tokens": experiment.evaluation.prompt_max_tokens,
    }
    return _short(json.dumps(settings, sort_keys=True))


def code_versions(experiment: Experiment) -> dict[str, str]:
    """Return what determines all trained models of an experiment and is not an input of the workflow's rules."""
    found = {"world": world_version(experiment), "training": training_version(experiment), "grader": grader_version()}
    if experiment.base.source == "rebuilt":
        found["pretraining"] = pretraining_version(experiment)
    return found


def _short(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
