"""Checkpoints of a trainer: their hashes, recorded when they are written and checked before they are read.

DeepSpeed pickles its state, so a file that did not come from this run's trainer must not be loaded. The file of hashes
is written last: a checkpoint without it is incomplete.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from medrlvr.runtime.files import write_text

HASHES = "sha256.json"
"""Name of the file with the hash of each file of a checkpoint, by its path in the checkpoint's folder."""


_LATENCY = 120.0
"""Seconds until a shared file system shows a file that another node has written."""


@dataclass(frozen=True, slots=True)
class Restored:
    """The checkpoint that a run resumes from.

    Attributes:
        update: number of finished updates, 0 without a checkpoint; optimiser steps for SFT.
        damaged: a sentence for every newer checkpoint that cannot be used.
    """

    update: int
    damaged: tuple[str, ...] = ()


def record_checkpoint(folder: str | os.PathLike[str], shards: int = 0) -> None:
    """Write the hashes of all files in a checkpoint's folder into it, after the files have reached the disk.

    Args:
        shards: number of optimiser states that processes have written. A shared file system may show those of other
            nodes late, so they are waited for. If one stays away, nothing is written: the checkpoint is incomplete.
    """
    root = Path(folder)
    deadline = time.monotonic() + _LATENCY
    while (found := len(list(root.glob("*optim_states.pt")))) < shards:
        if time.monotonic() > deadline:
            print(
                f"{root} has {found} of {shards} optimiser states after {_LATENCY:.0f} s, so it is not used", flush=True
            )
            return
        time.sleep(0.2)
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.name != HASHES)
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_synced_hash, files))
    named = {str(path.relative_to(root)): digest for path, digest in zip(files, digests, strict=True)}
    write_text(root / HASHES, json.dumps(named, indent=1, sort_keys=True) + "\n")


def damage(folder: Path) -> str | None:
    """Return what is wrong with a recorded checkpoint's files, or None if all are as they were written."""
    try:
        named = json.loads((folder / HASHES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{folder / HASHES} cannot be read"
    files = [folder / name for name in named]
    missing = [path for path in files if not path.is_file()]
    if missing:
        return f"{missing[0]} is missing"
    with ThreadPoolExecutor() as pool:
        digests = list(pool.map(_hash, files))
    unlisted = sorted({*folder.rglob("*.pt")} - {*files})
    if unlisted:
        return f"{unlisted[0]} is not a file that the run's trainer wrote"
    changed = [path for path, digest, name in zip(files, digests, named, strict=True) if digest != named[name]]
    return f"the content of {changed[0]} has changed since it was written" if changed else None


def complete_updates(checkpoints: Path, parts: Sequence[str]) -> list[int]:
    """Return the updates of all complete checkpoints, in order, without checking their content.

    Args:
        checkpoints: OpenRLHF's folder of checkpoints.
        parts: `part_folder`'s names of the parts that a checkpoint has.
    """
    steps = [
        {
            int(path.name.removeprefix("global_step").removesuffix("_hf"))
            for path in _root(checkpoints, part).glob("global_step*_hf" if part == MODEL else "global_step*")
            if (path / HASHES).is_file() and (part == MODEL) == path.name.endswith("_hf")
        }
        for part in parts
    ]
    return sorted(set.intersection(*steps))


MODEL = "model"
"""Part of a checkpoint: the weights alone, as a model folder."""

SINGLE = "."
"""Part of a checkpoint: the only trainer state, of a trainer with one model (SFT)."""


def restore(checkpoints: Path, parts: Sequence[str], before: int | None = None) -> Restored:
    """Choose the newest checkpoint whose every part is complete and unchanged, and make every part resume from it.

    The parts are saved one after another, so a run killed in between leaves one part ahead of the other. All newer
    states are deleted: the trainer deletes the state of the lowest update when it saves, and would otherwise delete the
    last good state and keep a damaged one. A folder without a checkpoint makes OpenRLHF fail, so it is removed.

    Args:
        checkpoints: OpenRLHF's folder of checkpoints; it need not exist.
        parts: `_actor`, `_critic`, `MODEL` or `SINGLE`.
        before: only updates below it are considered, because the training diverged at it; None for all.
    """
    damaged: list[str] = []
    for update in reversed(complete_updates(checkpoints, parts)):
        if before is not None and update >= before:
            continue
        fault = next(filter(None, (damage(part_folder(checkpoints, part, update)) for part in parts)), None)
        if fault is None:
            _delete_newer(checkpoints, parts, update)
            for part in set(parts) - {MODEL}:
                write_text(_root(checkpoints, part) / "latest", f"global_step{update}")
            return Restored(update, tuple(damaged))
        damaged.append(f"the checkpoint after update {update} is damaged and was not used: {fault}")
    shutil.rmtree(checkpoints, ignore_errors=True)
    return Restored(0, tuple(damaged))


def delete_unplanned_models(checkpoints: Path, parts: Sequence[str], save_every: int) -> None:
    """Delete the models of requested stops from which no run can resume any more; each requeue leaves one.

    Args:
        checkpoints, parts: as for `restore`.
        save_every: updates between two planned models.
    """
    resumable = complete_updates(checkpoints, parts)
    for update in complete_updates(checkpoints, [MODEL]):
        if update % save_every and update not in resumable:
            shutil.rmtree(part_folder(checkpoints, MODEL, update))


def delete_trainer_states(checkpoints: Path, parts: Sequence[str]) -> None:
    """Delete the trainer's states of a finished run, which are most of its disk use; its models stay.

    Args:
        checkpoints, parts: as for `restore`.
    """
    for part in set(parts) - {MODEL}:
        shutil.rmtree(_root(checkpoints, part), ignore_errors=True)


def part_folder(checkpoints: Path, part: str, update: int) -> Path:
    """Return the folder of one part of the checkpoint after `update`."""
    return _root(checkpoints, part) / (f"global_step{update}_hf" if part == MODEL else f"global_step{update}")


def _root(checkpoints: Path, part: str) -> Path:
    return checkpoints if part in (MODEL, SINGLE) else checkpoints / part


def _delete_newer(checkpoints: Path, parts: Sequence[str], update: int) -> None:
    for part in parts:
        for path in _root(checkpoints, part).glob("global_step*"):
            number = path.name.removeprefix("global_step").removesuffix("_hf")
            if path.is_dir() and number.isdigit() and int(number) > update:
                shutil.rmtree(path)


def _synced_hash(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
