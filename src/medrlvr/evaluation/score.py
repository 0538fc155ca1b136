"""Grade answers and compute metrics from the grades (paper, section 4.1)."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from medrlvr.data.keys import key_of
from medrlvr.dynamics.grades import is_unread
from medrlvr.evaluation.statistics import bootstrap_stderr, wilson_interval
from medrlvr.evaluation.strata import groups
from medrlvr.grading.evidence import COLUMNS, EvidenceCheck
from medrlvr.grading.grader import AnswerFormat, Grade
from medrlvr.grading.kinds import Key, KindGrade, LetterKey, grade_answer
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.texts import normalised

ERROR_QUANTILES = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}
"""Quantiles of relative errors that a metric record contains."""


def score_answers(
    answers: pd.DataFrame,
    questions: pd.DataFrame,
    forms: Mapping[str, AnswerFormat],
    check: EvidenceCheck | None = None,
) -> pd.DataFrame:
    """Grade every answer.

    Args:
        answers: as `generate_answers` writes them.
        questions: benchmark, question_id, options, gold, if there are numbers or texts kind and key, and stem for
            `check`; in a control, a question has other options.
        forms: mode -> answer format.
        check: checks the reasoning of the answers; None if it cannot be checked.

    Returns:
        the answers, with additional columns: options (their number), gold (index, missing for a number or text),
        answered (text of the option, or the number or text as written, None if unread) and the fields of `Grade`, or of
        `KindGrade` if there are numbers or texts; with `check` also the columns of `Evidence`, which are missing in
        modes without tags, because their prompts request no reasoning, and for questions that `check` does not know.
        Each row keeps its response.

    Raises:
        KeyError: an answer's question is not in `questions`.
    """
    facts = [name for name in ("options", "gold", "kind", "key", *(["stem"] if check else [])) if name in questions]
    known = questions.set_index(["benchmark", "question_id"])[facts].to_dict("index")
    rows = [known[key] for key in zip(answers["benchmark"], answers["question_id"], strict=True)]
    keys = [key_of(row) for row in rows]
    grades = [
        grade_answer(response, key, forms[mode], truncated=ended == "length")
        for response, mode, ended, key in zip(
            answers["response"], answers["mode"], answers["finish_reason"], keys, strict=True
        )
    ]
    answered = [_answered(key, found) for key, found in zip(keys, grades, strict=True)]
    graded = answers.assign(
        options=[len(row["options"]) for row in rows],
        gold=pd.Series([key.gold if isinstance(key, LetterKey) else None for key in keys], index=answers.index),
        answered=pd.Series(answered, index=answers.index, dtype=object),
    )
    parts = [graded.reset_index(drop=True), pd.DataFrame(map(asdict, grades))]
    if check:
        asked = [row if forms[mode] == "tagged" else None for row, mode in zip(rows, answers["mode"], strict=True)]
        parts.append(_evidence(asked, answers["response"], grades, check))
    return pd.concat(parts, axis=1)


def _answered(key: Key, found: Grade) -> str | None:
    if isinstance(found, KindGrade):
        return found.answer
    return key.options[LETTERS.index(found.letter)] if isinstance(key, LetterKey) and found.letter else None


def _evidence(
    asked: Iterable[Mapping[Hashable, Any] | None],
    responses: Iterable[str],
    grades: Iterable[Grade],
    check: EvidenceCheck,
) -> pd.DataFrame:
    """Return the columns of `Evidence`, without values for a question that is None or that `check` does not know."""
    found = [
        None if row is None else check(row["stem"], row["options"], response, one)
        for row, response, one in zip(asked, responses, grades, strict=True)
    ]
    rows = [evidence.columns() if evidence else {} for evidence in found]
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype(COLUMNS)


def majority_vote(scores: pd.DataFrame) -> pd.DataFrame:
    """Return one row per benchmark, mode and question, with the answer that most of its samples give.

    Among equally frequent answers, the one given first wins; samples without an answer have no vote. Numbers are equal
    if their values in the key's unit are, and texts if they are equal after normalisation.

    Args:
        scores: as `score_answers` returns them.

    Returns:
        benchmark, mode, question_id, options, gold, letter, answered, correct, lenient_letter, lenient_correct; if
        there are numbers or texts, also kind, answer, value, relative_error and lenient_answer.
    """
    strict_columns = [name for name in (*_STRICT, *_STRICT_KINDS) if name in scores]
    lenient_columns = [name for name in (*_LENIENT, *_LENIENT_KINDS) if name in scores]
    columns = [*_STRICT, *_LENIENT, *strict_columns[len(_STRICT) :], *lenient_columns[len(_LENIENT) :]]
    keys = ["benchmark", "mode", "question_id"]
    if not scores["sample"].any():
        return scores[[*keys, *columns]].reset_index(drop=True)
    rows = []
    for key, samples in scores.groupby(keys, sort=False):
        strict, lenient = _elected(samples, votes(samples)), _elected(samples, lenient_votes(samples))
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                **{name: strict[name] for name in strict_columns},
                **{name: lenient[name] for name in lenient_columns},
            }
        )
    return pd.DataFrame(rows)[[*keys, *columns]]


_STRICT = ("options", "gold", "letter", "answered", "correct")
_LENIENT = ("lenient_letter", "lenient_correct")
_STRICT_KINDS = ("kind", "answer", "value", "relative_error")
_LENIENT_KINDS = ("lenient_answer",)


def votes(scores: pd.DataFrame) -> pd.Series:
    """Return what each sample votes for: its letter, its number in the key's unit, or its text; missing if unread."""
    if "answer" not in scores:
        return scores["letter"]
    return scores["letter"].fillna(scores["value"].map(repr, na_action="ignore")).fillna(_plain(scores["answer"]))


def lenient_votes(scores: pd.DataFrame) -> pd.Series:
    """Return the same for lenient answers.

    A number that no sample gives in the required format is compared as written.
    """
    if "lenient_answer" not in scores:
        return scores["lenient_letter"]
    written, values = _plain(scores["lenient_answer"]), scores["value"].map(repr, na_action="ignore")
    known = dict(zip(_plain(scores["answer"])[values.notna()], values.dropna(), strict=True))
    return scores["lenient_letter"].fillna(written.map(lambda text: known.get(text, text), na_action="ignore"))


def _plain(texts: pd.Series) -> pd.Series:
    return texts.map(normalised, na_action="ignore")


def _elected(samples: pd.DataFrame, votes: pd.Series) -> pd.Series:
    """Return the first sample that gives the most frequent answer; if no sample has an answer, the first sample."""
    counts = votes.value_counts()
    leading = counts.index[counts == counts.max()]
    named = samples[votes.isin(leading)]
    return (named if len(named) else samples).iloc[0]


def summarise(
    scores: pd.DataFrame, clusters: pd.DataFrame, divided: pd.DataFrame, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record per benchmark and mode, as docs/metrics.md describes it; unparsed answers are wrong.

    Args:
        scores: as `score_answers` returns them, for one model.
        clusters: question_id and `repeats`, the id of the question that it repeats (its own id if it is the first).
            Fields that start with `distinct` count each repeated question once.
        divided: as `strata` returns them.
        resamples: number of bootstrap resamples for the standard error (paper, Figure 3: 1,000).
        seed: seed of the resampling.
    """
    records = []
    first = clusters.set_index("question_id")["repeats"]
    predictions = dict(iter(majority_vote(scores).groupby(["benchmark", "mode"])))
    for (benchmark, mode), group in scores.groupby(["benchmark", "mode"], sort=True):
        decided = predictions[benchmark, mode]
        distinct = decided[~decided["question_id"].map(first).duplicated()]
        values = divided[divided["benchmark"] == benchmark]
        records.append(
            {
                "benchmark": benchmark,
                "mode": mode,
                "samples": int(group["sample"].max()) + 1,
                **_counted(decided),
                "accuracy_stderr": bootstrap_stderr(decided["correct"].to_numpy(dtype=float), resamples, seed),
                **{f"distinct_{name}": value for name, value in _counted(distinct).items()},
                "sample_accuracy": group["correct"].mean(),
                "unparsed": is_unread(decided).mean(),
                "valid_format": group["valid_format"].mean(),
                "strict_format": group["strict_format"].mean(),
                **_evidence_shares(group),
                "truncated": group["truncated"].mean(),
                "mean_tokens": group["response_tokens"].mean(),
                "mean_chars": group["response"].str.len().mean(),
                "chance": (1 / decided["options"]).mean() if decided["options"].all() else None,
                "letters": _letters(decided[decided["options"] > 0]),
                **_numbers(decided),
                "strata": list(_stratified(decided, values)),
            }
        )
    return records


def _evidence_shares(scores: pd.DataFrame) -> dict[str, float | None]:
    """Return the shares of responses that cite a finding that the question does not have, and that reason.

    Args:
        scores: as `score_answers` returns them. A share is None if the reasoning was not checked.
    """
    if "reasons" not in scores:
        return {"invented": None, "reasons": None}
    shares = {"invented": scores["evidence_invented"].gt(0), "reasons": scores["reasons"]}
    missing = {"invented": scores["evidence_invented"].isna().any(), "reasons": scores["reasons"].isna().any()}
    return {name: None if missing[name] else float(share.mean()) for name, share in shares.items()}


def _counted(decided: pd.DataFrame) -> dict[str, Any]:
    right = int(decided["correct"].sum())
    low, high = wilson_interval(right, len(decided))
    return {
        "n": len(decided),
        "accuracy": right / len(decided),
        "accuracy_low": low,
        "accuracy_high": high,
        "lenient_accuracy": decided["lenient_correct"].mean(),
    }


def _letters(decided: pd.DataFrame) -> dict[str, dict[str, int]]:
    if decided.empty:
        return {}
    gold = decided["gold"].astype(int).map(LETTERS.__getitem__)
    shown = LETTERS[: int(decided["options"].max())]
    return {
        letter: {"answered": int((decided["letter"] == letter).sum()), "gold": int((gold == letter).sum())}
        for letter in shown
    }


def _numbers(decided: pd.DataFrame) -> dict[str, Any]:
    """Return the distribution of the relative errors of the numbers that were read; nothing without numbers."""
    if "kind" not in decided or not decided["kind"].eq("number").any():
        return {}
    errors = decided.loc[decided["kind"] == "number", "relative_error"].dropna().astype(float)
    quantiles = {
        name: float(errors.quantile(share)) if len(errors) else None for name, share in ERROR_QUANTILES.items()
    }
    return {"relative_error": {"n": len(errors), **quantiles}}


def _stratified(decided: pd.DataFrame, divided: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for (stratum, value), questions in groups(divided[divided["question_id"].isin(decided["question_id"])]):
        part = decided[decided["question_id"].isin(questions)]
        yield {"stratum": stratum, "value": value, **_counted(part)}
