"""Data of the report's explorer: a sample of the rollouts, and models side by side on every benchmark question.

The report embeds them as gzipped JSON in base64, one text for each run and one for the benchmarks, and unpacks a text
when it is needed. Their size is limited, so that report.html is easy to send. The parquet files contain everything.
"""

import base64
import gzip
import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import pandas as pd

from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reasoning import is_reasoned
from medrlvr.grading.self_verification import find_self_verification

LIMIT = 11_400_000
"""Maximum characters of all embedded texts together; benchmarks may use at most half of them."""

PACKED = 4
"""Highest expected compression ratio of model text, including base64. It limits how much text is tried first."""

FACTS = {
    "evidence_invented": "invented",
    "reasons": "reasons",
    "self_verifications": "checks",
    "reasoned": "reasoned",
}
"""Column of labelled responses or answers -> name of the fact in the explorer: whether the column is above zero.

The first two exist if the reasoning was checked, the last one for answers to test questions."""

GRADES = ("right", "wrong", "unreadable answer", "no valid format")
"""Grades in the required format."""

LENIENT_GRADES = ("right", "wrong", "no readable answer")
"""Grades if any readable answer counts."""


OUTCOMES = {
    "right": "right, required format",
    "not right": "not right, required format",
    "wrong": "wrong, required format",
    "unreadable answer": "unreadable answer",
    "no valid format": "no valid format",
    "not readable": "not readable, required format",
    "lenient right": "right, any readable answer",
    "lenient wrong": "wrong, any readable answer",
    "lenient not right": "not right, any readable answer",
    "lenient only": "right only by any readable answer",
    "neither reading": "not readable, and not right by any readable answer",
    "lenient no readable answer": "no readable answer",
    "reasoned": "reasoning in a valid format",
    "verified": "self-verification",
}
"""Filter of answers to test questions -> name. explorer_data.js has a test of each, also as Python code."""

INVENTED = {"invented": "invented finding"}
STEPS = {"reasons": "steps present and true"}
"""The same for answers whose reasoning was checked; free text has no check of the steps."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of a run's responses.

    Attributes:
        name: <arm>/seed<n>.
        shown: number of responses in the sample.
        total: number of responses of the run.
        each: maximum number of responses of each update, stage and grade.
        facts: packed facts of all responses of the run, without their texts; see `_coded`.
        text: packed texts of the responses in the sample, by their place in `facts`, and the questions.
    """

    name: str
    shown: int
    total: int
    each: int
    facts: str
    text: str


@dataclass(frozen=True, slots=True)
class Answers:
    """A model's first answers in one mode, to the questions of all benchmarks.

    Attributes:
        shown: whether the report contains their texts.
        table: rows of `evaluation.score.score_answers` with grade, lenient, reasoned and self_verifications; without
            response if not shown.
    """

    model: str
    mode: str
    shown: bool
    table: pd.DataFrame


def sample_rollouts(
    name: str,
    rollouts: pd.DataFrame,
    responses: pd.DataFrame,
    questions: pd.DataFrame,
    examples: Iterable[Any],
    limit: int,
) -> Sample:
    """Return as many responses as fit into `limit` characters, the same number from each update, stage and grade.

    Within such a stratum, a hash of question and sample determines the order, so the sample is not hand-picked.

    Args:
        name: name of the run.
        rollouts: as `training.rollouts.collect_rollouts` returns them.
        responses: as `dynamics.responses.label_responses` returns them, in the same order.
        questions: question_id, stem, options, gold, for numbers and texts kind and key.
        examples: (update, question_id, sample) of responses that are always included.
        limit: maximum characters of the packed facts and texts together.
    """
    table = rollouts.assign(grade=grades(rollouts), lenient=lenient_grades(rollouts))
    table = table.assign(stage=responses["label"].to_numpy())
    table = table.assign(**{name: responses[name].to_numpy() for name in FACTS if name in responses})
    keys = zip(table["question_id"], table["sample"], strict=True)
    table["order"] = [hashlib.sha256(f"{question}/{number}".encode()).hexdigest() for question, number in keys]
    table = table.sort_values("update", kind="stable", ignore_index=True)
    facts = pack(_coded(table))
    strata = table.sort_values("order").groupby(["update", "stage", "grade"], sort=False)
    table["rank"] = strata.cumcount() + 1
    places = zip(table["update"], table["question_id"], table["sample"], strict=True)
    wanted = {(int(update), str(question), int(number)) for update, question, number in examples}
    table.loc[[place in wanted for place in places], "rank"] = 0
    levels = range(int(table["rank"].max()) + 1)
    chars = table["response"].str.len().groupby(table["rank"]).sum().reindex(levels, fill_value=0).cumsum()
    each, text = _fit(
        lambda each: pack(_texts(table[table["rank"] <= each], questions)),
        lambda each: int(chars[each]),
        levels,
        limit - len(facts),
    )
    return Sample(name, int((table["rank"] <= each).sum()), len(table), each, facts, text)


def _fit(packed: Callable[[int], str], chars: Callable[[int], int], levels: range, limit: int) -> tuple[int, str]:
    """Return a level close to the highest whose text fits into a limit, and its text; the lowest if none fits.

    Args:
        packed: returns the packed text of a level.
        chars: returns the number of characters of a level before packing.
        levels: the levels, in ascending order.
        limit: maximum characters of the packed text.
    """
    most = PACKED * limit
    while True:
        level = levels[max(0, bisect_right(levels, most, key=chars) - 1)]
        text = packed(level)
        if len(text) <= limit or level == levels[0]:
            return level, text
        most = min(chars(level) - 1, int(0.97 * chars(level) * limit / len(text)))


def grades(graded: pd.DataFrame) -> list[str]:
    """Return the name of each response's grade, one of `GRADES`."""
    facts = zip(graded["correct"], _read(graded, ""), graded["rule"], strict=True)
    return [
        GRADES[0] if right else GRADES[1] if read is not None else GRADES[3 if rule == "no_answer_block" else 2]
        for right, read, rule in facts
    ]


def _read(graded: pd.DataFrame, reading: Literal["", "lenient_"]) -> list[str | None]:
    """Return the letter, or the number or text as written, that the grader read in each response."""
    columns = [graded[name] for name in (f"{reading}letter", f"{reading}answer") if name in graded]
    return [next((one for one in row if isinstance(one, str)), None) for row in zip(*columns, strict=True)]


def answer_columns(questions: pd.DataFrame) -> list[str]:
    """Return the columns in which the grades of the answers to these questions are: letter, answer, or both."""
    kinds = set(questions["kind"]) if "kind" in questions else {"letter"}
    return [*(["letter"] if "letter" in kinds else []), *(["answer"] if kinds - {"letter"} else [])]


def pack(value: Any) -> str:
    """Return a JSON value, gzipped and in base64; the same value gives the same text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), compresslevel=6, mtime=0)).decode()


def lenient_grades(graded: pd.DataFrame) -> list[str]:
    """Return the name of each response's grade if any readable answer counts, one of `LENIENT_GRADES`."""
    facts = zip(graded["lenient_correct"], _read(graded, "lenient_"), strict=True)
    return [LENIENT_GRADES[0 if right else 1 if read is not None else 2] for right, read in facts]


def _coded(table: pd.DataFrame) -> dict[str, Any]:
    """Return the facts of responses, without their texts, in a form that packs well.

    Args:
        table: update, question_id, sample, grade, lenient, letter, lenient_letter; where known, also answer,
            lenient_answer, value, stage, reward and the columns of `FACTS`.

    Returns:
        ids: question ids; kinds: the distinct facts; and for each response its update and sample, the place of its
        question in ids and the place of its facts in kinds.
    """
    places, ids = pd.factorize(table["question_id"])
    codes, kinds = pd.factorize(pd.Series([json.dumps(_facts(row)) for row in table.to_dict("records")]))
    return {
        "ids": list(ids),
        "kinds": [json.loads(kind) for kind in kinds],
        "update": table["update"].astype(int).tolist(),
        "question": places.tolist(),
        "sample": table["sample"].astype(int).tolist(),
        "kind": codes.tolist(),
    }


def _texts(shown: pd.DataFrame, questions: pd.DataFrame) -> dict[str, Any]:
    known = questions[questions["question_id"].isin(shown["question_id"])]
    texts = {str(place): _text(row) for place, row in zip(shown.index, shown.to_dict("records"), strict=True)}
    return {"questions": describe_questions(known), "texts": texts}


def describe_questions(table: pd.DataFrame) -> dict[str, Any]:
    """Return question ID -> stem, options and gold (its letter)."""
    return {
        row["question_id"]: {"stem": row["stem"], "options": list(row["options"]), **_right(row)}
        for row in table.to_dict("records")
    }


def _right(question: Mapping[Any, Any]) -> dict[str, str]:
    """Return the correct answer, and for a number or text what else is accepted."""
    if not isinstance(question.get("key"), str):
        return {"gold": LETTERS[int(question["gold"])]}
    key = json.loads(question["key"])
    if question["kind"] == "text":
        plural = ", also in the plural" if key.get("plural") else ""
        return {"gold": key["accepted"][0], "key": f"accepted: {' | '.join(key['accepted'])}{plural}"}
    unit = f" {key['unit']}" if "unit" in key else ""
    if "accepted" in key:
        accepted = f"accepted: {key['accepted'][0]:g} to {key['accepted'][1]:g}{unit}"
    else:
        tolerances = [f"{key['absolute']:g}{unit}"] if "absolute" in key else []
        tolerances += [f"{100 * key['relative']:g} %"] if "relative" in key else []
        accepted = f"accepted difference: {' or '.join(tolerances) or 'none'}"
    return {"gold": f"{repr(float(key['value'])).removesuffix('.0')}{unit}", "key": accepted}


def _facts(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the facts of a graded response; those of its reasoning are None where it was not checked."""
    letters = {
        name: next((row[one] for one in (name, answer) if isinstance(row.get(one), str)), None)
        for name, answer in (("letter", "answer"), ("lenient_letter", "lenient_answer"))
    }
    value = {} if pd.isna(row.get("value")) else {"value": f"{row['value']:.6g}"}
    return {
        **{name: row[name] for name in ("stage", "reward") if name in row},
        "grade": row["grade"],
        "lenient": row["lenient"],
        **letters,
        **value,
        **{fact: None if pd.isna(row[name]) else bool(row[name]) for name, fact in FACTS.items() if name in row},
    }


def _text(row: Mapping[Any, Any], cut: int | None = None) -> dict[str, Any]:
    """Return the text of a graded response, cut at `cut` characters, and the spans that the grader found in it."""
    text: str = row["response"]
    spans = {
        "think": _span(row["think_start"], row["think_end"]),
        "answer": _span(row["answer_start"], row["answer_end"]),
        "letter": _answer_span(row),
        "named": _name(text, _unsqueezed(text, row["think_start"], row["answer_named_at"]), row["letter"]),
        "checks": [list(span) for span in find_self_verification(text)] or None,
    }
    return {
        "text": text[:cut],
        "strict": bool(row["strict_format"]),
        "truncated": bool(row["truncated"]),
        "spans": {name: value for name, value in spans.items() if value is not None},
    }


def _span(start: Any, end: Any = None) -> list[int] | None:
    if pd.isna(start):
        return None
    return [int(start), int(start) + 1 if end is None else int(end)]


def _answer_span(row: Mapping[Any, Any]) -> list[int] | None:
    """Return the span of the letter, number or text that was graded."""
    if isinstance(row.get("answer"), str) and not pd.isna(row["answer_at"]):
        return _span(row["answer_at"], row["answer_at"] + len(row["answer"]))
    return _span(row["letter_at"])


def _name(text: str, start: int | None, letter: Any) -> list[int] | None:
    """Return the span of the phrase at `start` that names an option, up to its letter; otherwise that of one word."""
    if start is None:
        return None
    if not isinstance(letter, str):
        found = re.compile(r"[-+\u2212\u2013]?[\d.,]*\d|\w+|.", re.DOTALL).match(text, start)
        return None if found is None else list(found.span())
    phrase = (
        rf"(?:[Ii]t|[Aa]nswer|[Oo]ption|[Cc]hoice|[Cc]hoose|[Ll]etter)\b.{{0,25}}?\b{letter}\b|[(*]*{letter}\b|\w+|."
    )
    found = re.compile(phrase, re.DOTALL).match(text, start)
    return None if found is None else list(found.span())


def _unsqueezed(text: str, start: Any, place: Any) -> int | None:
    """Convert an offset in the think block, consecutive white space counted as one, to one in the response."""
    if pd.isna(start) or pd.isna(place):
        return None
    inside = text[int(start) :]
    before = sum(not sign.isspace() for sign in " ".join(inside.split())[: int(place)])
    signs = (at for at, sign in enumerate(inside, int(start)) if not sign.isspace())
    return next(islice(signs, before, None), None)


def first_answers(model: str, mode: str, scores: pd.DataFrame, *, shown: bool) -> Answers:
    """Return a model's first answer to every question in one mode, with its grades and facts.

    Args:
        scores: as `evaluation.score.score_answers` returns them, for one model.
        shown: whether the report contains their texts.
    """
    own = scores[scores["mode"].eq(mode) & scores["sample"].eq(0)]
    own = own.assign(
        grade=grades(own),
        lenient=lenient_grades(own),
        reasoned=list(_reasoned(own)),
        self_verifications=[len(find_self_verification(response)) for response in own["response"]],
    )
    return Answers(model, mode, shown, own if shown else own.drop(columns="response"))


def _reasoned(scores: pd.DataFrame) -> Iterator[bool]:
    """Yield whether each answer reasons. Whether the steps were checked is the same for all answers to a benchmark."""
    known = scores["reasons"].notna() if "reasons" in scores else pd.Series(False, index=scores.index)
    checked = known.groupby(scores["benchmark"]).transform("any")
    for row, is_checked in zip(scores.to_dict("records"), checked, strict=True):
        reasons = not pd.isna(row["reasons"]) and bool(row["reasons"]) if is_checked else None
        named = None if pd.isna(row["answer_named_at"]) else row["answer_named_at"]
        yield is_reasoned(row["valid_format"], reasons, named, row["think_chars"])


def pack_tests(
    answers: Sequence[Answers], questions: Mapping[str, pd.DataFrame], label: Callable[[str], str]
) -> tuple[str, int | None]:
    """Return every benchmark question with the models' answers, and the length at which responses are cut, if any.

    The facts of all answers are included, also of those whose texts are not.

    Args:
        answers: of every model and mode; at least one is shown.
        questions: benchmark -> question_id, stem, options, gold.
        label: returns a model's name for readers.
    """
    lengths = pd.concat([one.table["response"].str.len() for one in answers if one.shown])
    longest = int(lengths.max())

    def packed(cut: int) -> str:
        value: dict[str, Any] = {
            "models": [
                {"model": one.model, "mode": one.mode, "shown": one.shown, "label": label(one.model)} for one in answers
            ],
            "benchmarks": {
                name: {
                    "ids": asked["question_id"].tolist(),
                    "questions": describe_questions(asked),
                    "answers": [_answers(one, name, asked["question_id"].tolist(), cut) for one in answers],
                }
                for name, asked in questions.items()
            },
        }
        return pack(value)

    cut, text = _fit(packed, lambda cut: int(lengths.clip(upper=cut).sum()), range(longest + 1), LIMIT // 2)
    return text, cut if cut < longest else None


def pack_checkpoints(tables: Mapping[str, pd.DataFrame], benchmarks: Iterable[str]) -> str:
    """Return the facts of every checkpoint's answer to every benchmark question, packed: run -> benchmark -> `_coded`.

    Args:
        tables: run -> as `dynamics.updates.grade_checkpoints` returns it.
        benchmarks: the benchmarks that the report shows; development questions are left out.
    """
    sets = list(benchmarks)
    return pack({run: {name: _coded(_of_set(table, name)) for name in sets} for run, table in tables.items()})


def _of_set(table: pd.DataFrame, name: str) -> pd.DataFrame:
    rows = table[table["set"].eq(name)].rename(columns={"label": "stage"})
    return rows.assign(grade=grades(rows), lenient=lenient_grades(rows))


def _answers(answers: Answers, benchmark: str, ids: Sequence[str], cut: int | None) -> dict[str, Any]:
    """Return the answers to one benchmark in a form that packs well.

    Args:
        ids: question ids of the benchmark.
        cut: maximum characters of a text.

    Returns:
        kinds: the distinct facts; for each id, kind: the place of its facts in kinds, or -1 without an answer; and
        texts, or None if the answers are not shown.
    """
    table = answers.table[answers.table["benchmark"].eq(benchmark)]
    rows = {row["question_id"]: row for row in table.to_dict("records")}
    codes, kinds = pd.factorize(pd.Series([json.dumps(_facts(rows[id_])) if id_ in rows else None for id_ in ids]))
    return {
        "kinds": [json.loads(kind) for kind in kinds],
        "kind": codes.tolist(),
        "texts": [_text(rows[id_], cut) if id_ in rows else None for id_ in ids] if answers.shown else None,
    }
