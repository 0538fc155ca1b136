"""Probes: prompts that end in a changed think block and `</think> <answer>`, so that the next token is the answer."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from medrlvr.evaluation.requests import draw_questions
from medrlvr.evaluation.sensitivity.think import closed, sentence_ends, shuffled
from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.files import empty_table

FORCED = "</think> <answer>"
"""Text after a changed think block: the next token is the letter."""

PROBE_TYPES = {
    **dict.fromkeys(("question_id", "model", "benchmark", "template"), pa.string()),
    "options": pa.int64(),
    **dict.fromkeys(("letter", "question", "intervention"), pa.string()),
    **dict.fromkeys(("sentences", "of"), pa.int64()),
    **dict.fromkeys(("mode", "prompt", "answer_format"), pa.string()),
    **dict.fromkeys(("max_tokens", "samples"), pa.int64()),
    "temperature": pa.float64(),
    "seed": pa.int64(),
}
"""Column of the probes -> type."""

Replace = Callable[[str, str, random.Random], str | None]
"""Returns a think block with one cited finding of the stem replaced with another; None if that is not possible."""


def think_blocks(answers: pd.DataFrame, prompts: pd.DataFrame, questions: pd.DataFrame) -> pd.DataFrame:
    """Return the responses whose think block can be changed: those with a valid format, a letter and a sentence.

    Args:
        answers: model, benchmark, question_id, sample and response; only the first sample is used.
        prompts: benchmark, question_id, prompt and template, one row per question.
        questions: benchmark, question_id, stem, options and gold.

    Returns:
        model, benchmark, question_id, template, stem, options (their number), opening (prompt and response up to the
        block), block, letter, answered (the option's text).
    """
    known = prompts.merge(questions, on=["benchmark", "question_id"], suffixes=("_asked", ""))
    rows = []
    for row in answers[answers["sample"] == 0].merge(known, on=["benchmark", "question_id"]).to_dict("records"):
        found = grade(row["response"], list(row["options"]), int(row["gold"]))
        if found.letter is None or found.think_start is None:
            continue
        block = row["response"][found.think_start : found.think_end]
        if sentence_ends(block):
            opening = row["prompt"] + row["response"][: found.think_start]
            answered = row["options"][LETTERS.index(found.letter)]
            taken = {name: row[name] for name in ("model", "benchmark", "question_id", "template", "stem")}
            facts = {"options": len(row["options"]), "letter": found.letter, "answered": answered}
            rows.append({**taken, **facts, "opening": opening, "block": block})
    columns = ["model", "benchmark", "question_id", "template", "stem", "options", "letter", "answered"]
    return pd.DataFrame(rows, columns=[*columns, "opening", "block"])


def measured_systems(
    models: Sequence[str], sizes: Mapping[str, int], questions: int, curve: Mapping[str, int]
) -> dict[tuple[str, str], int]:
    """Return model and benchmark -> number of questions; the last model is measured on all benchmarks.

    Args:
        models: the base and the checkpoints, in order.
        sizes: benchmark -> number of its questions, which limits the numbers below.
        questions: number of questions of each benchmark for the last model.
        curve: benchmark -> number of questions for each other model.
    """
    last = dict.fromkeys(sizes, questions)
    return {
        (model, name): min(number, sizes[name])
        for model in models
        for name, number in (last if model == models[-1] else curve).items()
    }


def sampled_blocks(
    answers: pd.DataFrame,
    prompts: pd.DataFrame,
    questions: pd.DataFrame,
    systems: Mapping[tuple[str, str], int],
    seed: int,
) -> pd.DataFrame:
    """Return the blocks of the drawn questions of each model and benchmark of `systems`.

    Args:
        answers, prompts, questions: as `think_blocks` expects them.
        systems: as `measured_systems` returns them.
        seed: seed of the draw.

    Returns:
        as `think_blocks`; no row for a model and benchmark whose responses have no block that can be changed.
    """
    drawn = [
        think_blocks(
            answers[(answers["model"] == model) & (answers["benchmark"] == name)],
            draw_questions(prompts[prompts["benchmark"] == name], number, seed),
            questions,
        )
        for (model, name), number in systems.items()
    ]
    return pd.concat(drawn, ignore_index=True)


def build_probes(blocks: pd.DataFrame, seed: int, replace: Replace | None) -> pd.DataFrame:
    """Return the requests of all interventions, one row each, as `generate_answers` expects them.

    Args:
        blocks: as `think_blocks` returns them.
        seed: seed of the draws; a question's draws do not depend on other rows, except for its swapped block.
        replace: replaces a finding; None where no finding is known.

    Returns:
        the columns of requests, with `model`, and question (the question's id), intervention, sentences (how many the
        block keeps), of (how many the response has) and letter (as written). A probe's question_id is its question's
        with the intervention. The table is empty if there are no blocks.
    """
    rows = []
    for _, group in blocks.groupby(["model", "benchmark"], sort=False):
        records = group.to_dict("records")
        for record in records:
            rng = random.Random(f"{seed}:{record['question_id']}")
            of = len(sentence_ends(record["block"]))
            for intervention, sentences, block in _changed(record, records, of, rng, replace):
                rows.append(_request(record, intervention, sentences, of, block))
    return pd.DataFrame(rows) if rows else empty_table(PROBE_TYPES)


def _changed(
    record: Mapping[Any, Any],
    others: Sequence[Mapping[Any, Any]],
    of: int,
    rng: random.Random,
    replace: Replace | None,
) -> Iterator[tuple[str, int, str]]:
    """Yield each intervention that is possible, the number of sentences kept, and the changed block."""
    block = record["block"]
    for count in range(of):
        yield "closed", count, closed(block, count)
    yield "full", of, block
    donors = [
        one["block"] for one in others if one["letter"] != record["letter"] and one["answered"] != record["answered"]
    ]
    found = {
        "shuffled": shuffled(block, rng),
        "swapped": rng.choice(donors) if donors else None,
        "replaced": replace(record["stem"], block, rng) if replace else None,
    }
    yield from ((name, of, text) for name, text in found.items() if text is not None)


def _request(record: Mapping[Any, Any], intervention: str, sentences: int, of: int, block: str) -> dict[str, Any]:
    return {
        "question_id": f"{record['question_id']}/{intervention}/{sentences}",
        **{name: record[name] for name in ("model", "benchmark", "template", "options", "letter")},
        "question": record["question_id"],
        "intervention": intervention,
        "sentences": sentences,
        "of": of,
        "mode": "sensitivity",
        "prompt": record["opening"] + block + FORCED,
        "answer_format": "loglikelihood",
        "max_tokens": 1,
        "samples": 1,
        "temperature": 0.0,
        "seed": 0,
    }
