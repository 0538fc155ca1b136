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
    """Return the folders of the models that OpenRLHF wrote next to its checkpoints, by update."""
    return {int(path.name[len("global_step") : -len("_hf")]): path for path in checkpoints.glob("global_step*_hf")}


def is_model(folder: Path) -> bool:
    """Return whether a folder has all files of a model, including those that OpenRLHF writes last."""
    weights = (folder / "model.safetensors").is_file() or list(folder.glob("model-*.safetensors"))
    return bool(weights) and all((folder / name).is_file() for name in _FILES)


_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json")


def save_recipe(folder: Path, paths: Paths, made: Path, arm: SftArm | RlvrArm, **run: object) -> None:
    """Save a model's settings, training rows and command next to it, so that you can repeat the training by hand.

    The run's state folder is deleted later. The saved command therefore reads the rows next to it, also after both have
    been moved together, and writes to a separate folder.

    Args:
        folder: the run's state folder, with its command.sh.
        made: folder of the model.
        run: settings of this run only: seed, learning_rate.
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
    """Publish a finished model with hard links where the file system allows; the linked files stay intact.

    Args:
        card: text of the model's README.md.

    Raises:
        UserError: weights or tokenizer are missing, or the weights were deleted.
    """
    if not has_weights(made):
        raise UserError(
            f"{made} is now the selected checkpoint, but its weights were deleted after evaluation. Undo the change"
            " that altered the selection. Or set evaluation.keep_checkpoints to true and train again: add"
            " `-- --forcerun train_rlvr` to your `medrlvr run`."
        )
    if not is_model(made):
        raise UserError(f"{made}: training did not write a complete model (weights, {', '.join(_FILES)}).")
    model.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(model, ignore_errors=True)
    temporary = model.with_name(f".{model.name}.{os.getpid()}.part")
    # Without Snakemake's timestamp file: if it were linked, both folders would always have the same timestamp.
    shutil.copytree(made, temporary, copy_function=_link, ignore=shutil.ignore_patterns(".snakemake*"))
    if card is not None:
        write_text(temporary / "README.md", card)
    temporary.rename(model)


def publish_events(made: Path, events: Path) -> None:
    """Put the TensorBoard files of a finished run into one folder, whose path names the run in TensorBoard."""
    shutil.rmtree(events, ignore_errors=True)
    events.mkdir(parents=True)
    for file in made.rglob("events.out.tfevents.*"):
        _link(str(file), str(events / file.name))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
