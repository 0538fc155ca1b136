"""Grade answers and compute metrics from the grades (paper, section 4.1)."""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from medrlvr.evaluation.statistics import bootstrap_stderr, wilson_interval
from medrlvr.evaluation.strata import groups
from medrlvr.grading.evidence import COLUMNS, EvidenceCheck
from medrlvr.grading.grader import AnswerFormat, Grade, grade
from medrlvr.grading.letters import LETTERS


def score_answers(
    answers: pd.DataFrame,
    questions: pd.DataFrame,
    forms: Mapping[str, AnswerFormat],
    check: EvidenceCheck | None = None,
) -> pd.DataFrame:
    """Grade every answer.

    Args:
        answers: as `generate_answers` writes them.
        questions: benchmark, question_id, options, gold, and stem for `check`; in a control, a question has other
            options.
        forms: mode -> answer format.
        check: checks the reasoning of the answers; None if it cannot be checked.

    Returns:
        the answers, with additional columns: options (their number), gold (index), answered (text of the option, None
        without a letter) and the fields of `Grade`; with `check` also the columns of `Evidence`, which are missing in
        modes without tags, because their prompts request no reasoning, and for questions that `check` does not know.
        Each row keeps its response.

    Raises:
        KeyError: an answer's question is not in `questions`.
    """
    facts = ["options", "gold", *(["stem"] if check else [])]
    known = questions.set_index(["benchmark", "question_id"])[facts].to_dict("index")
    rows = [known[key] for key in zip(answers["benchmark"], answers["question_id"], strict=True)]
    grades = [
        grade(response, list(row["options"]), int(row["gold"]), forms[mode], truncated=ended == "length")
        for response, mode, ended, row in zip(
            answers["response"], answers["mode"], answers["finish_reason"], rows, strict=True
        )
    ]
    answered = [
        row["options"][LETTERS.index(found.letter)] if found.letter else None
        for row, found in zip(rows, grades, strict=True)
    ]
    graded = answers.assign(
        options=[len(row["options"]) for row in rows],
        gold=[int(row["gold"]) for row in rows],
        answered=pd.Series(answered, index=answers.index, dtype=object),
    )
    parts = [graded.reset_index(drop=True), pd.DataFrame(map(asdict, grades))]
    if check:
        asked = [row if forms[mode] == "tagged" else None for row, mode in zip(rows, answers["mode"], strict=True)]
        parts.append(_evidence(asked, answers["response"], grades, check))
    return pd.concat(parts, axis=1)


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
    """Return one row per benchmark, mode and question, with the letter that most of its samples give.

    Among equally frequent letters, the one given first wins; samples without a letter have no vote.

    Args:
        scores: as `score_answers` returns them.

    Returns:
        benchmark, mode, question_id, options, gold, letter, answered, correct, lenient_letter, lenient_correct.
    """
    columns = ["options", "gold", "letter", "answered", "correct", "lenient_letter", "lenient_correct"]
    keys = ["benchmark", "mode", "question_id"]
    if not scores["sample"].any():
        return scores[[*keys, *columns]].reset_index(drop=True)
    rows = []
    for key, samples in scores.groupby(keys, sort=False):
        strict, lenient = _elected(samples, "letter"), _elected(samples, "lenient_letter")
        rows.append(
            {
                **dict(zip(keys, key, strict=True)),
                **{name: strict[name] for name in ("options", "gold", "letter", "answered", "correct")},
                **{name: lenient[name] for name in ("lenient_letter", "lenient_correct")},
            }
        )
    return pd.DataFrame(rows)


def _elected(samples: pd.DataFrame, column: str) -> pd.Series:
    """Return the first sample that gives the most frequent letter; if no sample has a letter, the first sample."""
    votes = samples[column].value_counts()
    leading = votes.index[votes == votes.max()]
    named = samples[samples[column].isin(leading)]
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
                "lenient_accuracy": decided["lenient_correct"].mean(),
                "unparsed": decided["letter"].isna().mean(),
                "valid_format": group["valid_format"].mean(),
                "strict_format": group["strict_format"].mean(),
                **_evidence_shares(group),
                "truncated": group["truncated"].mean(),
                "mean_tokens": group["response_tokens"].mean(),
                "mean_chars": group["response"].str.len().mean(),
                "chance": (1 / decided["options"]).mean(),
                "letters": _letters(decided),
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
    return {"n": len(decided), "accuracy": right / len(decided), "accuracy_low": low, "accuracy_high": high}


def _letters(decided: pd.DataFrame) -> dict[str, dict[str, int]]:
    gold = decided["gold"].map(LETTERS.__getitem__)
    shown = LETTERS[: int(decided["options"].max())]
    return {
        letter: {"answered": int((decided["letter"] == letter).sum()), "gold": int((gold == letter).sum())}
        for letter in shown
    }


def _stratified(decided: pd.DataFrame, divided: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for (stratum, value), questions in groups(divided[divided["question_id"].isin(decided["question_id"])]):
        part = decided[decided["question_id"].isin(questions)]
        yield {"stratum": stratum, "value": value, **_counted(part)}
