"""Move a trained model, its TensorBoard events and its recipe into results/."""

import os
import shlex
import shutil
from pathlib import Path

import yaml

from medrlvr.config.arms import RlvrArm, SftArm, training_settings
from medrlvr.models.folder import has_weights
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text
from medrlvr.training.openrlhf import Paths


def exported(checkpoints: Path) -> dict[int, Path]:
    """Return the folders of the models that OpenRLHF wrote beside its checkpoints, by update."""
    return {int(path.name[len("global_step") : -len("_hf")]): path for path in checkpoints.glob("global_step*_hf")}


def is_model(folder: Path) -> bool:
    """Whether all files of a model are there, the ones that OpenRLHF writes last among them."""
    weights = (folder / "model.safetensors").is_file() or list(folder.glob("model-*.safetensors"))
    return bool(weights) and all((folder / name).is_file() for name in _FILES)


_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def save_recipe(folder: Path, paths: Paths, made: Path, arm: SftArm | RlvrArm, **run: object) -> None:
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


def publish_model(made: Path, model: Path, card: str | None = None) -> None:
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


def publish_events(made: Path, events: Path) -> None:
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
