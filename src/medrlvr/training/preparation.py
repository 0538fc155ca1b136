"""Before and after a training run: is the input fit for it, where does its state live, and where does its model go."""

import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import TypeVar

import yaml

from medrlvr.config import Machine, RlvrArm, SftArm, training_settings
from medrlvr.errors import UserError
from medrlvr.files import write_text
from medrlvr.models import has_weights
from medrlvr.training.openrlhf import Paths

Row = TypeVar("Row")


def end_of_text(base: Path) -> str:
    """Return the text of the end-of-text token.

    Raises:
        UserError: the tokenizer has none.
    """
    file = base / "tokenizer_config.json"
    token = json.loads(file.read_text(encoding="utf-8")).get("eos_token")
    token = token["content"] if isinstance(token, dict) else token
    if not isinstance(token, str) or not token:
        raise UserError(f"{file}: no eos_token, so a response could never end.")
    return token


def read_rows(path: Path, keys: Sequence[str]) -> list[dict[str, str]]:
    """Read JSON lines whose objects have text under `keys`.

    Raises:
        UserError: names the first line that is otherwise, or says that there is none.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error}).") from None
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
            raise UserError(f"{path}, line {number}: needs text under {' and '.join(keys)}.")
        rows.append(row)
    if not rows:
        raise UserError(f"{path}: no rows to train on.")
    return rows


def fill_steps(rows: Sequence[Row], prompts_per_step: int) -> list[Row]:
    """Return the rows, the first of them repeated at the end until they are a multiple of `prompts_per_step`.

    OpenRLHF keeps the gradients of an optimiser step that is not full and adds them to the next update's first step,
    under that one's normalisation.
    """
    missing = -len(rows) % prompts_per_step
    return list(islice(cycle(rows), len(rows) + missing))


def checkpoint_layout(machine: Machine) -> Machine:
    """Return the machine as far as a checkpoint depends on it: memory and speed may be tuned, and training goes on."""
    return Machine(**machine.model_dump(include={"device", "nodes", "gpus_per_node", "zero_stage", "vllm_engines"}))


def state_folder(root: Path, kind: str, arguments: Sequence[str], inputs: Sequence[Path]) -> Path:
    """Return the folder, made if need be, for the state of the one run that arguments and inputs define.

    Args:
        root: holds the states of all runs.
        kind: starts the folder's name.
        arguments: of OpenRLHF, with neutral paths and `checkpoint_layout`.
        inputs: files, or folders of files, by content.
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
    """Return the step of the newest checkpoint that all `parts` have, 0 if none, and make every part resume from it.

    The parts save one after another, and the model to be asked after them, so a run killed in between leaves one ahead
    of the other; and a folder without a checkpoint stops OpenRLHF, so it is removed.
    """
    steps = [
        {int(path.name.removeprefix("global_step")) for path in (checkpoints / part).glob("global_step*")}
        for part in parts
    ]
    named = [_latest(checkpoints / part) for part in parts]
    whole = {step for step, folder in exported(checkpoints).items() if is_model(folder)}
    common = [step for step in set.intersection(*steps, whole) if step <= min(named)]
    if not common:
        shutil.rmtree(checkpoints, ignore_errors=True)
        return 0
    for part in parts:
        (checkpoints / part / "latest").write_text(f"global_step{max(common)}", encoding="utf-8")
    return max(common)


def exported(checkpoints: Path) -> dict[int, Path]:
    """Return the folders of the models that OpenRLHF wrote beside its checkpoints, by update."""
    return {int(path.name[len("global_step") : -len("_hf")]): path for path in checkpoints.glob("global_step*_hf")}


def is_model(folder: Path) -> bool:
    """Whether all files of a model are there, the ones that OpenRLHF writes last among them."""
    weights = (folder / "model.safetensors").is_file() or list(folder.glob("model-*.safetensors"))
    return bool(weights) and all((folder / name).is_file() for name in _FILES)


_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def _latest(folder: Path) -> int:
    file = folder / "latest"
    return int(file.read_text(encoding="utf-8").removeprefix("global_step")) if file.is_file() else 0


def keep_origin(folder: Path, paths: Paths, made: Path, arm: SftArm | RlvrArm, **run: object) -> None:
    """Put with a model what it was made with: the settings, the rows and the command, which trains once more by hand.

    The state that the command named will be gone, so it reads the rows beside it, wherever they are moved together, and
    writes into a folder of its own.

    Args:
        folder: of the run's state, with its command.sh.
        made: folder of the model.
        run: what is the run's own: seed, learning_rate.
    """
    (made / paths.data.name).unlink(missing_ok=True)
    _link(str(paths.data), str(made / paths.data.name))
    text = (folder / "command.sh").read_text(encoding="utf-8")
    text = text.replace(shlex.quote(str(paths.data)), f'"$(dirname "$0")"/{paths.data.name}')
    text = text.replace(str(folder), str(folder.with_name(f"{folder.name}-by-hand")))
    (made / "command.sh").write_text(text, encoding="utf-8")
    settings = {**training_settings(arm), **run}
    (made / "training.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def hand_over(made: Path, model: Path, card: str | None = None) -> None:
    """Put a finished model in its place, by hard links where the file system allows: what is linked stays whole.

    Args:
        card: text of its README.md.

    Raises:
        UserError: weights or tokenizer are missing, or the weights were dropped.
    """
    if not has_weights(made):
        raise UserError(
            f"{made} would be taken, but its weights were deleted when it had answered. Set evaluation.keep_checkpoints"
            " to true and train again (--forcerun train_rlvr), or undo the change that it would be taken for."
        )
    if not is_model(made):
        raise UserError(f"{made}: training wrote no complete model there (weights, {', '.join(_FILES)}).")
    model.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(model, ignore_errors=True)
    temporary = model.with_name(f".{model.name}.{os.getpid()}.part")
    # Not Snakemake's own mark of when a folder was made: linked, the one folder's would move with the other's.
    shutil.copytree(made, temporary, copy_function=_link, ignore=shutil.ignore_patterns(".snakemake*"))
    if card is not None:
        write_text(temporary / "README.md", card)
    temporary.rename(model)


def hand_over_events(made: Path, events: Path) -> None:
    """Put the TensorBoard files of a finished run into one folder, whose path then names the run to TensorBoard."""
    shutil.rmtree(events, ignore_errors=True)
    events.mkdir(parents=True)
    for file in made.rglob("events.out.tfevents.*"):
        _link(str(file), str(events / file.name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
