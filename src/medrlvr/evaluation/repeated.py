"""pass@k and maj@k of several models from one sampling, next to guessing, as docs/controls.md defines them.

Numbers and texts have no guessing, and for maj@k all correct answers of a question count as one answer.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medrlvr.config.design import SIGNIFICANCE
from medrlvr.config.evaluation import Mode
from medrlvr.evaluation.requests import build_requests
from medrlvr.evaluation.score import lenient_votes, votes
from medrlvr.evaluation.statistics import Resamples, Values, hull, seed_interval, sign_test

DRAWS = 200
"""Random orders of a question's samples, from which the expected majority is computed."""
READINGS: dict[str, Callable[[pd.DataFrame], "pd.Series[Any]"]] = {"correct": votes, "lenient_correct": lenient_votes}
"""Column of right answers -> the samples' votes: by the required format, and by any readable answer."""


def sampling_requests(
    prompts: pd.DataFrame, modes: Mapping[str, str], settings: Mapping[str, Mode], seed: int
) -> pd.DataFrame:
    """Return the requests of several models, with the column `model`.

    Args:
        prompts: as `render_requests` returns them, of the drawn questions.
        modes: model folder -> its evaluation mode.
        settings: mode -> its settings, with the number of samples and the temperature.
        seed: seed for sampled answers.
    """
    sets = list(dict.fromkeys(prompts["benchmark"]))
    tables = [
        build_requests(prompts, {name: [mode] for name in sets}, settings, seed).assign(model=model)
        for model, mode in modes.items()
    ]
    return pd.concat(tables, ignore_index=True)


def powers_of_two(most: int) -> list[int]:
    """Return 1, 2, 4, ... up to `most`, which is the last value in any case."""
    return sorted({*(2**power for power in range(most.bit_length())), most})


def pass_at_k(right: int, samples: int, k: int) -> float:
    """Return the unbiased estimate of the probability that one of `k` samples is right: 1 - C(n-c, k) / C(n, k).

    Args:
        right: number of right samples, c.
        samples: number of samples, n, at least k.
    """
    return 1 - math.comb(samples - right, k) / math.comb(samples, k)


def guessing_at_k(options: int, k: int) -> float:
    """Return the probability that one of `k` uniform guesses among `options` options is right."""
    return 1 - (1 - 1 / options) ** k


def majority_at_k(votes: NDArray[np.int64], gold: int, ks: Sequence[int], rng: np.random.Generator) -> list[float]:
    """Return for each k the expected accuracy of the most frequent letter of k samples drawn without replacement.

    Args:
        votes: shape (samples,), the index of each sample's letter, or -1 without a letter, which is no vote.
        gold: index of the right letter.
        ks: increasing numbers of samples.
        rng: draws the orders. Equally frequent letters share the vote; without any vote, the question is wrong.
    """
    letters = max(int(votes.max()), gold) + 1
    given = votes[:, None] == np.arange(letters)
    orders = rng.permuted(np.tile(np.arange(len(votes)), (DRAWS, 1)), axis=1)
    counts = np.zeros((DRAWS, letters))
    shares = []
    for before, k in pairwise([0, *ks]):
        counts += given[orders[:, before:k]].sum(axis=1)
        leading = (counts == counts.max(axis=1, keepdims=True)) & (counts > 0)
        shares.append(float((leading[:, gold] / np.maximum(leading.sum(axis=1), 1)).mean()))
    return shares


def question_values(scores: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Return question_id, measure, reading, k and value, for one model on one benchmark.

    Args:
        scores: as `score_answers` returns them. Without a checked reasoning, there is no `pass_reasoned`.
        seed: seed of the orders of samples.
    """
    guessed = bool(scores["options"].gt(0).all())
    groups = scores.groupby("question_id", sort=False)
    return pd.DataFrame(row for _, rows in groups for row in _of(rows, seed, guessed=guessed))


def _of(rows: pd.DataFrame, seed: int, *, guessed: bool) -> Iterator[dict[str, Any]]:
    """Yield the values of one question, with those of guessing if all questions have options."""
    question, n, gold, options = (rows["question_id"].iloc[0], len(rows), *rows[["gold", "options"]].iloc[0])
    ks = powers_of_two(n)
    reasons = rows["reasons"] if "reasons" in rows and rows["reasons"].notna().all() else None
    for reading, voted in READINGS.items():
        right = rows[reading].astype(bool)
        counted = {"pass": right} | ({} if reasons is None else {"pass_reasoned": right & reasons.astype(bool)})
        for measure, good in counted.items():
            for k in ks:
                yield _value(question, measure, reading, k, pass_at_k(int(good.sum()), n, k))
        answers, best = _votes(voted(rows), right, None if pd.isna(gold) else int(gold))
        shares = majority_at_k(answers, best, ks, np.random.default_rng(seed))
        for k, share in zip(ks, shares, strict=True):
            yield _value(question, "majority", reading, k, share)
        for k in ks if guessed else ():
            yield _value(question, "guessing", reading, k, guessing_at_k(int(options), k))


def _votes(voted: "pd.Series[Any]", right: "pd.Series[bool]", gold: int | None) -> tuple[NDArray[np.int64], int]:
    """Return the votes and the right one as numbers: the index of a letter; else 0 for all right answers."""
    if gold is not None:
        letters = voted.map(lambda name: -1 if pd.isna(name) else ord(name) - ord("A"))
        return letters.to_numpy(dtype=np.int64), gold
    wrong, _ = pd.factorize(voted.mask(right))
    return np.where(right, 0, np.where(wrong < 0, -1, wrong + 1)), 0


def _value(question: str, measure: str, reading: str, k: int, value: float) -> dict[str, Any]:
    return {"question_id": question, "measure": measure, "reading": reading, "k": k, "value": value}


def measure_samples(
    scores: pd.DataFrame, models: Mapping[str, str], rlvr: str, clusters: "pd.Series[str]", resamples: int, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of `summarise_repeated` and of `compare_repeated` (RLVR minus base), with their benchmark.

    Args:
        scores: as `score_answers` returns them, of all models.
        models: model folder -> its arm, `base` for the base.
        rlvr: the RLVR arm.
        clusters, resamples, seed: as for `summarise_repeated`.
    """
    curves, differences = [], []
    for benchmark, here in scores.groupby("benchmark", sort=False):
        values: dict[str, list[pd.DataFrame]] = {}
        for model, arm in models.items():
            values.setdefault(arm, []).append(question_values(here[here["model"] == model], seed))
        compared = compare_repeated(values[rlvr], values["base"][0], clusters, resamples, seed)
        differences += [{"benchmark": benchmark, **record} for record in compared]
        curves += [{"benchmark": benchmark, **one} for one in summarise_repeated(values, clusters, resamples, seed)]
    return curves, differences


def summarise_repeated(
    values: Mapping[str, Sequence[pd.DataFrame]], clusters: "pd.Series[str]", resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record per arm, measure, reading and k, on one benchmark: n, seeds, value, low, high (95 %).

    Args:
        values: arm -> for each training seed, the table of `question_values`; one table for the base.
        clusters: the cluster of each question, by its id.
        resamples: number of bootstrap resamples.
        seed: seed of the resampling.
    """
    arrays = {arm: _arrays(tables) for arm, tables in values.items()}
    questions = next(iter(next(iter(arrays.values())).values())).columns
    drawn = Resamples(clusters.loc[questions].tolist(), resamples, seed)
    return [
        {"arm": arm, **dict(zip(("measure", "reading", "k"), key, strict=True)), **paired_interval(table, None, drawn)}
        for arm, tables in arrays.items()
        for key, table in tables.items()
    ]


def compare_repeated(
    first: Sequence[pd.DataFrame], base: pd.DataFrame, clusters: "pd.Series[str]", resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return the paired difference of an arm minus the base, for each measure, reading and k that both have.

    `finding`, only for `pass_reasoned` at the largest k, is "RLVR solves more" if the interval is above zero, "the base
    solves more" if it is below zero, both only with a p-value below 0.05, and otherwise "open". `p` is that of the sign
    test over questions.

    Args:
        first: for each training seed of the arm, the table of `question_values`.
        base: the base's table.
        clusters, resamples, seed: as for `summarise_repeated`.
    """
    ours, theirs = _arrays(first), _arrays([base])
    questions = next(iter(ours.values())).columns
    drawn = Resamples(clusters.loc[questions].tolist(), resamples, seed)
    most = max(k for _, _, k in ours)
    records = []
    for key, table in ours.items():
        if key not in theirs or key[0] == "guessing":
            continue
        other = theirs[key].loc[:, questions]
        record = paired_interval(table, other, drawn)
        p = sign_test(np.asarray(table.mean() - other.mean(), dtype=np.float64))
        judged = key[0] == "pass_reasoned" and key[2] == most
        finding = _finding(record["low"], record["high"], p) if judged else None
        named = dict(zip(("measure", "reading", "k"), key, strict=True))
        records.append({**named, **record, "p": p, "finding": finding})
    return records


def _arrays(tables: Sequence[pd.DataFrame]) -> dict[tuple[str, str, int], pd.DataFrame]:
    """Return (measure, reading, k) -> values, one row per seed and one column per question."""
    joined = pd.concat([table.assign(seed=number) for number, table in enumerate(tables)], ignore_index=True)
    found: dict[Any, pd.DataFrame] = dict(iter(joined.groupby(["measure", "reading", "k"], sort=False)))
    return {
        (measure, reading, int(k)): rows.pivot(index="seed", columns="question_id", values="value")
        for (measure, reading, k), rows in found.items()
    }


def paired_interval(table: pd.DataFrame, other: pd.DataFrame | None, drawn: Resamples) -> dict[str, Any]:
    """Return the mean over seeds and questions, of the difference if there is another table, with its interval.

    Args:
        table: one row per training seed and one column per question.
        other: the same questions of a model that is not trained, one row.
        drawn: resamples of the columns.

    Returns:
        n, seeds, value, low and high (95 %, over questions and, with three or more seeds, over seeds).
    """
    gain: Values = np.asarray(table.mean() - (0.0 if other is None else other.mean()), dtype=np.float64)
    means = [float(mean) for mean in table.mean(axis=1)]
    ((low, high),) = drawn.intervals(gain, [0.95])
    less = 0.0 if other is None else float(other.to_numpy().mean())
    low, high = hull((low, high), seed_interval(means, less, 0.95))
    return {"n": len(gain), "seeds": len(means), "value": float(gain.mean()), "low": low, "high": high}


def _finding(low: float, high: float, p: float) -> str:
    if p >= SIGNIFICANCE:
        return "open"
    if low > 0:
        return "RLVR solves more"
    return "the base solves more" if high < 0 else "open"
