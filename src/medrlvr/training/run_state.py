"""The state folder of a run, and the last complete checkpoint in it."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from medrlvr.config.machine import Machine
from medrlvr.training.publish import exported, is_model


def checkpoint_layout(machine: Machine) -> Machine:
    """Return the machine settings on which a checkpoint depends; others may be tuned before training resumes."""
    return Machine(**machine.model_dump(include={"device", "nodes", "gpus_per_node", "zero_stage", "vllm_engines"}))


def state_folder(root: Path, kind: str, arguments: Sequence[str], inputs: Sequence[Path]) -> Path:
    """Return the state folder of the run that arguments and inputs define; create it if it does not exist.

    Args:
        root: folder of the states of all runs.
        kind: start of the folder's name.
        arguments: OpenRLHF's arguments, with neutral paths and `checkpoint_layout`.
        inputs: files, or folders of files, identified by their contents.
    """
    digest = hashlib.sha256(json.dumps([version("openrlhf"), *arguments]).encode())
    for path in inputs:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    folder = root.resolve() / f"{kind}-{digest.hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def last_checkpoint(checkpoints: Path, parts: Sequence[str]) -> int:
    """Return the step of the newest checkpoint that all `parts` have, or 0, and make every part resume from it.

    The parts are saved one after another, and the model to evaluate after them, so a run killed in between leaves one
    part ahead of the other. A folder without a checkpoint makes OpenRLHF fail, so it is removed.
    """
    steps = [
        {int(path.name.removeprefix("global_step")) for path in (checkpoints / part).glob("global_step*")}
        for part in parts
    ]
    named = [latest_checkpoint(checkpoints / part) for part in parts]
    whole = {step for step, folder in exported(checkpoints).items() if is_model(folder)}
    common = [step for step in set.intersection(*steps, whole) if step <= min(named)]
    if not common:
        shutil.rmtree(checkpoints, ignore_errors=True)
        return 0
    for part in parts:
        (checkpoints / part / "latest").write_text(f"global_step{max(common)}", encoding="utf-8")
    return max(common)


def latest_checkpoint(folder: Path) -> int:
    file = folder / "latest"
    return int(file.read_text(encoding="utf-8").removeprefix("global_step")) if file.is_file() else 0
