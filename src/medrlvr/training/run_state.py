"""The state folder of a run: what names it, why a run starts in a new one, and the seed of each attempt in it."""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from medrlvr.config.arms import RlvrArm, SftArm, training_settings
from medrlvr.config.machine import Machine
from medrlvr.runtime.files import write_json

RUN_FILE = "run.json"
"""File in a state folder: the run's name and everything that determines its result."""

LOCK = "run.lock"
"""File in a state folder that the process which trains the run holds."""

FINISHED = "finished.json"
"""File in a state folder whose run has finished and whose results were checked: the folder of its models. The state
stays until a later step uses the models, because Snakemake deletes the outputs of a step that is killed before it has
recorded them; the next start then only writes them again."""

PATIENCE = 30.0
"""Seconds to wait for an earlier process of the same run that is about to end."""

_FORMAT = 2
"""Version of the state's files; a state of another version is never resumed."""


def checkpoint_layout(machine: Machine) -> Machine:
    """Return the machine settings on which a checkpoint depends; others may be tuned before training resumes."""
    return Machine(**machine.model_dump(include={"device", "nodes", "gpus_per_node", "zero_stage", "vllm_engines"}))


def run_facts(arm: SftArm | RlvrArm, machine: Machine, **run: Any) -> dict[str, Any]:
    """Return the settings that determine a run's result, by the names in the configuration.

    Args:
        run: settings of this run only, such as its seed.
    """
    layout = checkpoint_layout(machine).model_dump(mode="json", exclude_unset=True)
    return training_settings(arm) | {f"machine.{name}": value for name, value in layout.items()} | run


def state_folder(
    root: Path,
    kind: str,
    run: str,
    arguments: Sequence[str],
    settings: Mapping[str, Any],
    inputs: Mapping[str, Path],
) -> tuple[Path, str | None]:
    """Return the state folder of the run that arguments, settings and inputs define; create it if it does not exist.

    Args:
        root: folder of the states of all runs.
        kind: start of the folder's name.
        run: the run's display name.
        arguments: OpenRLHF's arguments, with neutral paths and `checkpoint_layout`.
        settings: the run's settings under the names that the user knows.
        inputs: files, or folders of files, identified by their contents.

    Returns:
        The folder, and a sentence if an earlier state of the same run cannot be resumed: what differs, and where it is.
    """
    facts = {
        **settings,
        **{name: _content(path) for name, path in inputs.items()},
        "version of openrlhf": version("openrlhf"),
        "options of the trainer": [*arguments],
        "format of the state": _FORMAT,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    folder = root.resolve() / f"{kind}-{digest[:16]}"
    if (folder / RUN_FILE).is_file():
        return folder, None
    earlier = [found for found in _states(root) if found[1].get("run") == run and not is_finished(found[0])]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RUN_FILE, {"run": run, "facts": facts})
    if not earlier:
        return folder, None
    other, content = earlier[-1]
    changes = ", ".join(_changes(content.get("facts", {}), facts)[:_SHOWN])
    return folder, (
        f"{run}: starts from scratch, because this differs from the earlier, unfinished run: {changes}. Its state"
        f" remains in {other}; delete the folder if you do not need it."
    )


def mark_finished(folder: Path, models: Path) -> None:
    """Record in a run's state folder that it has finished, and where its models are published."""
    write_json(folder / FINISHED, {"models": str(models.resolve())})


def is_finished(folder: Path) -> bool:
    """Return whether the run of a state folder has finished."""
    return (folder / FINISHED).is_file()


def delete_finished(root: Path, models: Iterable[Path]) -> None:
    """Delete the states of finished runs, whose published models a later step uses.

    Args:
        root: folder of the states of all runs.
        models: folders of the published models of these runs.
    """
    wanted = {str(folder.resolve()) for folder in models}
    for file in root.glob(f"*/{FINISHED}"):
        if json.loads(file.read_text(encoding="utf-8"))["models"] in wanted:
            # A kill during the deletion then leaves no folder that looks like a state.
            file.parent.rename(file.parent.with_name(f".{file.parent.name}{_DELETED}"))
    for folder in root.glob(f".*{_DELETED}"):
        shutil.rmtree(folder, ignore_errors=True)


_DELETED = ".deleted"
"""End of the name of a state folder that is being deleted."""

_SHOWN = 5
"""Number of changes in a message."""


def _states(root: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the state folders with their contents, the newest last."""
    found = []
    for file in root.resolve().glob(f"*/{RUN_FILE}"):
        with suppress(FileNotFoundError):  # another run has just finished and deletes its state
            found.append((file.stat().st_mtime, file.parent, json.loads(file.read_text(encoding="utf-8"))))
    return [(folder, content) for _, folder, content in sorted(found, key=lambda one: one[0])]


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return what differs: settings with both values, contents by name; the trainer's options only if nothing else."""
    changed = [name for name in {**new, **old} if old.get(name) != new.get(name)]
    if changed != ["options of the trainer"]:
        changed = [name for name in changed if name != "options of the trainer"]
    return [
        name
        if isinstance(new.get(name), list) or name.startswith("content of ")
        else f"{name} is {json.dumps(new.get(name))} instead of {json.dumps(old.get(name))}"
        for name in changed
    ]


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def attempt_seed(seed: int, done: int, diverged: int) -> int:
    """Return the seed of the random numbers of an attempt that starts after `done` finished updates.

    The trainer does not save the state of its random numbers. With the run's own seed, a resumed attempt would repeat
    the random numbers of update 1.

    Args:
        diverged: number of earlier attempts in which training diverged. It would diverge again with the same numbers.
    """
    if done == diverged == 0:
        return seed
    return int.from_bytes(hashlib.sha256(f"{seed} {done} {diverged}".encode()).digest()[:4]) >> 1
