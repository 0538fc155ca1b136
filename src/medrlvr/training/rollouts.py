"""All responses sampled in training: saved during the run and gathered into one table afterwards.

A run may be interrupted and resumed. Each attempt has a folder whose name contains its first update. The folder holds
one JSON lines file for each vLLM process. Updates are numbered from 1, like OpenRLHF's global steps: the responses of
update u come from the policy after u - 1 updates.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd

from medrlvr.runtime.errors import UserError

FAILURE_FILE = "failure.txt"
"""File that the reward hook writes into its attempt's folder when it raises an exception."""


class PromptMismatch(ValueError):
    """The graded text does not start with its prompt."""


def split_response(query: str, prompt: str, end_of_text: str) -> tuple[str, str]:
    """Return the response without its prompt, and why it ended: "stop" (at the end-of-text token, removed) or "length".

    Raises:
        PromptMismatch: `query` does not start with `prompt`. The prompt itself contains a pair of tags, so it must not
            be graded.
    """
    if not query.startswith(prompt):
        raise PromptMismatch(
            "a generated text does not start with its prompt. Either the prompt is longer than prompt_max_tokens and"
            " was cut, or the tokenizer does not reproduce the prompt exactly. Raise the arm's prompt_max_tokens, or"
            f" remove the question.\nprompt: {prompt!r}\ntext:   {query!r}"
        )
    response = query[len(prompt) :]
    if end_of_text and response.endswith(end_of_text):
        return response.removesuffix(end_of_text), "stop"
    return response, "length"


def start_attempt(folder: Path, first_update: int) -> Path:
    """Create and return the folder for the rows of an attempt whose first update is `first_update`, counted from 1."""
    number = 1 + sum(1 for _ in folder.glob("attempt-*"))
    attempt = folder / f"attempt-{number:03d}-from-{first_update:06d}"
    attempt.mkdir(parents=True)
    return attempt


def numbered_label(label: str, update: int) -> str:
    """Return a prompt's label, a JSON object, with the update in which the prompt is served."""
    return json.dumps(json.loads(label) | {"update": update})


def collect_rollouts(folder: Path, sizes: Sequence[int], samples_per_prompt: int) -> pd.DataFrame:
    """Return the rows of all attempts as one table; for an update trained more than once, those of the last attempt.

    Args:
        folder: folder of the attempts' folders.
        sizes: number of prompts in each update, as `update_sizes` returns them.
        samples_per_prompt: number of responses to each prompt.

    Returns:
        update (from 1), sample (from 0), then the columns that the hook writes; sorted by update and question.

    Raises:
        UserError: an update is missing or incomplete, or a question does not have `samples_per_prompt` rows in it.
    """
    updates: dict[int, pd.DataFrame] = {}
    for attempt in sorted(folder.glob("attempt-*")):
        rows = pd.DataFrame(read_attempt(attempt))
        for update, size in enumerate(sizes, 1) if len(rows) else ():
            found = rows[rows["update"] == update]
            if len(found) == size * samples_per_prompt:
                updates[update] = found
    missing = [update for update in range(1, len(sizes) + 1) if update not in updates]
    if missing:
        raise UserError(
            f"{folder}: the responses of {len(missing)} of {len(sizes)} updates are missing or incomplete;"
            f" the first is update {missing[0]}. Delete {folder.parent} and train again."
        )
    for update, rows in updates.items():
        counts = rows["question_id"].value_counts()
        uneven = counts[counts % samples_per_prompt != 0]
        if len(uneven):
            raise UserError(
                f"{folder}: update {update} has {uneven.iloc[0]} responses to question {uneven.index[0]}"
                f" instead of {samples_per_prompt}: rows were lost or added. Delete {folder.parent} and train again."
            )
    table = pd.concat([updates[update] for update in sorted(updates)], ignore_index=True)
    table = table.sort_values(["update", "question_id"], kind="stable", ignore_index=True)
    sample = table.groupby(["update", "question_id"]).cumcount()
    first = pd.DataFrame({"update": table["update"], "question_id": table["question_id"], "sample": sample})
    return first.join(table.drop(columns=["update", "question_id"]))


def complete_rollouts(folder: Path, sizes: Sequence[int], samples_per_prompt: int) -> set[int]:
    """Return the updates whose responses `collect_rollouts` can take from one attempt.

    Args:
        folder, sizes, samples_per_prompt: as for `collect_rollouts`.
    """
    found = set()
    for attempt in folder.glob("attempt-*"):
        counts: dict[object, Counter[object]] = defaultdict(Counter)
        for row in read_attempt(attempt):
            counts[row.get("update")][row.get("question_id")] += 1
        for update, size in enumerate(sizes, 1):
            of_questions = counts[update].values()
            even = all(count % samples_per_prompt == 0 for count in of_questions)
            if even and sum(of_questions) == size * samples_per_prompt:
                found.add(update)
    return found


def read_attempt(attempt: Path) -> Iterator[dict[str, object]]:
    """Yield the rows of every file of an attempt, without damaged lines: the update that lacks a row is incomplete."""
    for shard in sorted(attempt.glob("*.jsonl")):
        for line in shard.read_text(encoding="utf-8", errors="replace").split("\n"):
            with suppress(json.JSONDecodeError):
                row = json.loads(line)
                if isinstance(row, dict):
                    yield row
