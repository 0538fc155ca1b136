"""Select among models that differ in one setting, using only the development questions."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medrlvr.dynamics.grades import is_unread
from medrlvr.evaluation.score import majority_vote, score_answers
from medrlvr.grading.grader import AnswerFormat
from medrlvr.runtime.errors import UserError


def candidate_models(folders: Sequence[str | Path]) -> list[Path]:
    """Return model folders; a folder that is not a model is replaced with the models `update<n>` in it, in order."""
    models = []
    for folder in map(Path, folders):
        inside = sorted(folder.glob("update*"), key=update_of)
        models += [folder] if (folder / "config.json").is_file() else inside
    return models


def update_of(model: str | Path) -> int:
    """Return the number of updates of a checkpoint, from its folder's name `update<n>`; 0 for any other folder."""
    name = Path(model).name
    return int(name.removeprefix("update")) if name.startswith("update") else 0


def select_best(
    answers: pd.DataFrame | None, questions: pd.DataFrame, models: Sequence[Path], answer_format: AnswerFormat
) -> pd.DataFrame:
    """Return one row per model, in order, with the best one marked.

    Args:
        answers: as `generate_answers` writes them; None if there is only one model.
        questions: the development questions (QUESTION_SCHEMA or KINDS_SCHEMA).
        models: model folders. Among equally good models, the first is selected.
        answer_format: format of the answers.

    Returns:
        candidate (the folder's name), n, accuracy, lenient_accuracy, unparsed (fractions, missing without answers),
        chosen (true once).

    Raises:
        UserError: a model has no answers, because its weights were deleted.
    """
    table = pd.DataFrame({"candidate": [model.name for model in models]})
    if answers is None:
        (_,) = models
        return table.assign(n=0, accuracy=None, lenient_accuracy=None, unparsed=None, chosen=True)
    asked = questions.assign(benchmark="development")
    silent = [model.name for model in models if str(model) not in set(answers["model"])]
    if silent:
        raise UserError(
            f"{models[0].parent}: {', '.join(silent)} cannot be evaluated on the development questions, which have"
            " changed, because the weights were deleted after evaluation. Undo the change of the questions. Or set"
            " evaluation.keep_checkpoints to true and train again: add `-- --forcerun train_rlvr` to your `medrlvr"
            " run`."
        )
    scores = score_answers(answers, asked, dict.fromkeys(answers["mode"], answer_format))
    decided = pd.concat(majority_vote(rows).assign(model=model) for model, rows in scores.groupby("model"))
    facts = decided.assign(unparsed=is_unread(decided)).set_index("model")
    shares = facts[["correct", "lenient_correct", "unparsed"]].astype(float).groupby("model").mean()
    shares = shares.set_axis(["accuracy", "lenient_accuracy", "unparsed"], axis="columns")
    shares = shares.loc[[str(model) for model in models]].reset_index(drop=True)
    table = table.assign(n=len(questions)).join(shares)
    return table.assign(chosen=table.index == table["accuracy"].idxmax())
