"""Data of the causal panel: the options' probabilities along the think block of single responses.

The report embeds a bounded part of them. The files in controls/sensitivity/ contain all.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medrlvr.config.design import BLOCK_CHANGES
from medrlvr.report.explorer import describe_questions, pack
from medrlvr.runtime.files import read_json, read_parquet

EACH = 20
"""Maximum number of questions of each run, checkpoint and benchmark."""
LIMIT = 400_000
"""Maximum characters of the packed panels of all runs."""
END = "</think>"
"""Ends each changed think block; the answer's tag follows."""

KEYS = ["model", "benchmark", "question_id"]


@dataclass(frozen=True, slots=True)
class Panels:
    """The embedded part of the panels.

    Attributes:
        each: maximum number of questions of each run, checkpoint and benchmark.
        shown: number of responses with a panel.
        total: number of measured responses.
        text: packed runs and questions.
    """

    each: int
    shown: int
    total: int
    text: str


def pack_panels(
    runs: Mapping[str, Mapping[str, str | Path]],
    questions: Mapping[str, pd.DataFrame],
    responses: Mapping[str, pd.DataFrame],
    names: Mapping[str, Mapping[str, str]],
) -> Panels:
    """Return the first questions of each run, checkpoint and benchmark, as many as fit, at most `EACH`.

    Questions that were measured at the most checkpoints come first, so that checkpoints have the same ones as far as
    possible; then a hash of the question's ID determines the order, so that none is hand-picked.

    Args:
        runs: <arm>/seed<n> -> files `record`, `requests`, `answers` and `questions` of the control. A run is left out
            if no response has a block to change.
        questions: benchmark -> question_id, stem, options, gold.
        responses: run -> benchmark, question_id and response of its last model, as far as the report embeds them.
        names: `runs`: run -> its name for readers; `benchmarks`: benchmark -> title.
    """
    entries = {run: list(_entries(files, responses.get(run))) for run, files in runs.items()}
    total = sum(map(len, entries.values()))
    for each in range(EACH, 0, -1):
        chosen = {run: [entry for entry in own if entry["rank"] < each] for run, own in entries.items()}
        text = pack(_panels(chosen, entries, questions) | {"names": names})
        if len(text) <= LIMIT:
            break
    return Panels(each, sum(map(len, chosen.values())), total, text)


def _panels(
    chosen: Mapping[str, Sequence[Mapping[str, Any]]],
    entries: Mapping[str, Sequence[Mapping[str, Any]]],
    questions: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """Return runs, each with name, entries and systems (what was measured); and the questions of each benchmark."""
    asked: dict[str, set[str]] = {}
    for entry in chain.from_iterable(chosen.values()):
        asked.setdefault(entry["benchmark"], set()).add(entry["question"])
    return {
        "runs": [
            {
                "name": run,
                "systems": _systems(entries[run]),
                "entries": [{name: entry[name] for name in entry if name not in ("rank", "model")} for entry in own],
            }
            for run, own in chosen.items()
            if own
        ],
        "questions": {
            name: describe_questions(table[table["question_id"].isin(asked.get(name, ()))])
            for name, table in questions.items()
        },
    }


def _systems(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return model, update, benchmark and total, the number of measured responses."""
    counts = Counter((entry["model"], entry["update"], entry["benchmark"]) for entry in entries)
    return [
        {"model": model, "update": update, "benchmark": benchmark, "total": total}
        for (model, update, benchmark), total in counts.items()
    ]


def _entries(files: Mapping[str, str | Path], responses: pd.DataFrame | None) -> Iterator[dict[str, Any]]:
    """Yield each measured response of a run: question, model, benchmark, rank, sentences, probabilities and measures.

    The probabilities have one row for each number of sentences shown, from 0 to all, in thousandths. `embedded` is true
    if the explorer has this response.
    """
    measured = read_parquet(files["questions"])
    logprobs = read_parquet(files["answers"])[[*KEYS, "letter_logprobs"]]
    probes = read_parquet(files["requests"]).merge(logprobs, on=KEYS)
    path = probes[probes["intervention"].isin(["closed", "full"])].sort_values("sentences", kind="stable")
    steps = dict(iter(path.groupby(["model", "benchmark", "question"], sort=False)))
    texts = {} if responses is None else dict(_by_question(responses))
    last = max(record["update"] for record in read_json(files["record"])["records"])
    checkpoints = Counter(measured["question_id"])
    for _, own in measured.groupby(["model", "benchmark"], sort=False):
        order = sorted(own["question_id"], key=lambda question: (-checkpoints[question], _hash(question)))
        for row in own.to_dict("records"):
            model, benchmark, question = (row[name] for name in KEYS)
            rows = steps[model, benchmark, question]
            sentences = split_block(list(rows["prompt"]))
            is_embedded = row["update"] == last and "".join(sentences) in texts.get((benchmark, question), "")
            yield {
                "rank": order.index(question),
                "question": question,
                "model": model,
                "update": int(row["update"]),
                "benchmark": benchmark,
                "sentences": sentences,
                "probabilities": [_thousandths(one) for one in rows["letter_logprobs"]],
                **{name: row[name] for name in ("final", "written")},
                **{name: float(f"{row[name]:.6g}") for name in ("position", "area")},
                "kept": {name: bool(row[f"kept_{name}"]) for name in BLOCK_CHANGES if pd.notna(row[f"kept_{name}"])},
                "embedded": is_embedded,
            }


def _by_question(responses: pd.DataFrame) -> Iterator[tuple[tuple[str, str], str]]:
    first = responses[responses["sample"] == 0]
    for row in first[["benchmark", "question_id", "response"]].to_dict("records"):
        yield (row["benchmark"], row["question_id"]), row["response"]


def _hash(question: str) -> str:
    return hashlib.sha256(question.encode()).hexdigest()


def _thousandths(logprobs: Sequence[float]) -> list[int]:
    """Return the options' probabilities, divided by their sum, in thousandths."""
    shifted = np.exp(np.asarray(logprobs, dtype=float) - max(logprobs))
    return [round(1000 * float(share)) for share in shifted / shifted.sum()]


def split_block(prompts: Sequence[str]) -> list[str]:
    """Return the sentences of a think block, each with the white space before it.

    Args:
        prompts: the prompts whose block has 0, 1, ... and all sentences. The space of an emptied block is ours if the
            response has none.
    """
    whole = prompts[-1]
    emptied = prompts[0][: prompts[0].rindex(END)]
    start = len(emptied) if whole.startswith(emptied) else len(emptied) - 1
    end = len(whole[: whole.rindex(END)].rstrip())
    after = len(whole) - end
    ends = [*(len(prompt) - after for prompt in prompts[1:-1]), end]
    return [whole[first:last] for first, last in zip([start, *ends], ends, strict=False)]
