"""Check a model folder before use, hash its weights and delete them.

Only safetensors are accepted, because a pickle can run code when it is read. Models with their own code are rejected.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

from medrlvr.models.gguf import TOKENIZER
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json_value, write_text

DROPPED = "weights_deleted.txt"
"""File that replaces deleted weights and contains their hash."""
PRETRAINING = "pretraining.json"
"""File that describes the text which a base model of ours has read."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def check_folder(folder: Path, key: str = "base.name") -> None:
    """Require a complete model that loads without running code from its folder.

    Args:
        key: the setting that names the folder, for the message.

    Raises:
        UserError: files are missing or not allowed; the message lists all of them.
    """
    if not folder.is_dir():
        raise UserError(f"{key}: there is no folder {folder}. Enter the path of a model folder.")
    faults = []
    if not (folder / "config.json").is_file():
        faults.append("config.json is missing; the folder must contain a model as transformers saves it")
    faults += [
        f"{name} is missing; the folder must also contain the model's tokenizer"
        for name in TOKENIZER
        if not (folder / name).is_file()
    ]
    code = sorted(path.name for path in folder.glob("*.py"))
    code += [
        f"auto_map in {file.name}"
        for file in (folder / "config.json", folder / "tokenizer_config.json")
        if file.is_file() and "auto_map" in read_model_json(file)
    ]
    if code:
        faults.append(
            f"the model has its own code ({', '.join(code)}), which medrlvr never runs; use a model without code"
        )
    if not has_weights(folder):
        faults.append(
            "its weights were deleted after evaluation; use another model, or set evaluation.keep_checkpoints: true and"
            " train it again"
        )
    elif any(folder.glob("*.safetensors")):
        faults += [
            f"{file.name} has no safetensors header: it is not complete, or only a pointer of Git LFS; copy it again"
            for file in sorted(folder.glob("*.safetensors"))
            if _header(file) is None
        ]
    else:
        faults.append("there is no *.safetensors file")
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        if pickles:
            faults[-1] += (
                f", only pickled weights ({pickles[0]}), which can run code when they are read; use a revision with"
                " safetensors, or convert the weights with a tool and on a machine that you trust"
            )
    if faults:
        raise UserError(f"{key}: {folder} cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))


def tensor_sizes(folder: Path) -> dict[str, int]:
    """Return the number of elements of each tensor in a model folder, from the headers of its safetensors files."""
    sizes: dict[str, int] = {}
    for file in folder.glob("*.safetensors"):
        head = _header(file) or {}
        sizes |= {name: math.prod(facts["shape"]) for name, facts in head.items() if name != "__metadata__"}
    return sizes


def read_model_json(file: Path) -> dict[str, Any]:
    """Return the content of a JSON file of a model folder, such as config.json.

    Raises:
        UserError: it is not a JSON object.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {error}. Copy the model folder again.") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} contains no JSON object. Copy the model folder again.")
    return found


def _header(file: Path) -> dict[str, Any] | None:
    """Return the header of a safetensors file: tensor -> dtype, shape and offsets; None if the file is damaged."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > file.stat().st_size - 8:
            return None
        try:
            found = json.loads(stream.read(length))
        except (ValueError, RecursionError):
            return None
    return found if isinstance(found, dict) else None


def weights_digest(folder: Path) -> str:
    """Return the first 16 digits of a hash of a model's weights and settings, also if the weights were deleted."""
    if (folder / DROPPED).is_file():
        return (folder / DROPPED).read_text(encoding="utf-8").split()[0]
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def delete_weights(folder: Path) -> None:
    """Delete a model's weights and keep its other files and the hash, which still identifies its cached answers.

    If it is interrupted, another call completes it.
    """
    why = "of the weights of this model. They were deleted after evaluation (evaluation.keep_checkpoints)."
    write_text(folder / DROPPED, f"{weights_digest(folder)} is the hash {why}\n")
    for file in folder.glob("*.safetensors"):
        file.unlink()


def has_weights(folder: Path) -> bool:
    """Return whether a model's weights were not deleted."""
    return not (folder / DROPPED).is_file()


def pretraining_record(folder: str | Path) -> Any:
    """Return what a base of ours has read, from its folder, or None for another model."""
    file = Path(folder) / PRETRAINING
    return read_json_value(file) if file.is_file() else None
