"""Move a trained model, its TensorBoard events and its recipe into results/."""

import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import yaml

from medrlvr.config.arms import RlvrArm, SftArm, training_settings
from medrlvr.models.folder import has_weights
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text
from medrlvr.runtime.redact import quote_portably
from medrlvr.training.openrlhf import Paths
from medrlvr.training.resume.checkpoints import HASHES, damage


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

    A later step deletes the run's state folder. The saved command therefore reads the rows next to it, also after both
    have been moved together, and writes to a separate folder.

    Args:
        folder: the run's state folder, with its command.sh.
        made: folder of the model.
        run: settings of this run only: seed, learning_rate.
    """
    (made / paths.data.name).unlink(missing_ok=True)
    _link(str(paths.data), str(made / paths.data.name))
    text = (folder / "command.sh").read_text(encoding="utf-8")
    text = text.replace(quote_portably(str(paths.data)), f'"$(dirname "$0")"/{paths.data.name}')
    by_hand = folder.with_name(f"{folder.name}-by-hand")
    text = text.replace(quote_portably(str(folder)), quote_portably(str(by_hand)))
    write_text(made / "command.sh", text)
    settings = {**training_settings(arm), **run}
    write_text(made / "training.yaml", yaml.safe_dump(settings, sort_keys=False))


def publish_model(made: Path, model: Path, card: str | None = None) -> None:
    """Publish a finished model with hard links where the file system allows; the linked files stay intact.

    Args:
        card: text of the model's README.md.

    Raises:
        UserError: weights or tokenizer are missing or damaged, or the weights were deleted.
    """
    if not has_weights(made):
        raise UserError(
            f"{made} is now the selected checkpoint, but its weights were deleted after evaluation. Undo the change"
            " that altered the selection. Or set evaluation.keep_checkpoints to true and train again: add"
            " `-- --forcerun train_rlvr` to your `medrlvr run`."
        )
    if (made / HASHES).is_file() and (fault := damage(made)):
        raise UserError(f"{fault}. Delete {made.parent.parent} and train again.")
    if not is_model(made):
        raise UserError(f"{made}: training did not write a complete model (weights, {', '.join(_FILES)}).")
    model.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(model, ignore_errors=True)
    temporary = model.with_name(f".{model.name}.{os.getpid()}.part")
    # Without Snakemake's timestamp file: if it were linked, both folders would always have the same timestamp.
    shutil.copytree(made, temporary, copy_function=_link, ignore=shutil.ignore_patterns(".snakemake*", HASHES))
    if card is not None:
        write_text(temporary / "README.md", card)
    temporary.rename(model)


def publish_events(metrics: pd.DataFrame, times: Mapping[int, float], events: Path) -> None:
    """Write the metrics of a finished run as one TensorBoard file, with every update once.

    Args:
        metrics: update and a column for each metric, as `read_metrics` returns them.
        times: when each update was logged, in seconds since 1970; the current time for other updates.
        events: folder, whose path names the run in TensorBoard.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    shutil.rmtree(events, ignore_errors=True)
    writer = EventFileWriter(str(events))
    for row in metrics.to_dict("records"):
        update = int(row.pop("update"))
        values = [
            Summary.Value(tag=f"train/{name}", simple_value=value)
            for name, value in row.items()
            if not math.isnan(value)
        ]
        when = times.get(update, time.time())
        writer.add_event(Event(wall_time=when, step=update, summary=Summary(value=values)))
    writer.close()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
