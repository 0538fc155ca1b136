"""RLVR's gain over its base in steps: format, option habits, spurious rewards, known answers and the rest.

docs/controls.md defines the steps, their order and what is merged if an arm is absent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medrlvr.config.controls import SPURIOUS, Role
from medrlvr.config.design import ComparisonDesign
from medrlvr.data.row_parsing import NONE_OF_THE_ABOVE, normalise_text
from medrlvr.evaluation.comparison.predictions import PredictionTables
from medrlvr.evaluation.statistics import Interval, Resamples, Values, hull
from medrlvr.grading.letters import LETTERS

Parts = Mapping[str, Sequence[Values]]
"""Arm -> for each seed, its signed contribution to every question, shape (n,). A step is the sum of the arms' means."""

BASE = "base"
_NONE = normalise_text(NONE_OF_THE_ABOVE)
_CELLS = 4 * len(LETTERS)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One model on one benchmark, each of shape (n,).

    Attributes:
        required, any_letter: 1 for a right answer by the required format, and by any readable letter.
        habit: as `habits` returns it.
    """

    required: Values
    any_letter: Values
    habit: Values

    @property
    def beyond(self) -> Values:
        """What is right beyond habit."""
        return self.any_letter - self.habit


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its key, its name for readers, the arms whose results it compares, and their contributions."""

    step: str
    name: str
    arms: tuple[str, ...]
    parts: Parts

    @property
    def value(self) -> float:
        return float(sum(np.mean(seeds) for seeds in self.parts.values()))


def option_cells(options: Sequence[str]) -> list[int]:
    """Return the cell of each option: its letter, whether it is the longest, and whether it is "None of the above".

    Of equally long options, the first is the longest.
    """
    longest = max(range(len(options)), key=lambda index: len(options[index]))
    return [4 * index + 2 * (index == longest) + (normalise_text(text) == _NONE) for index, text in enumerate(options)]


def habits(
    answers: Sequence[str | None], options: Sequence[Sequence[str]], gold: Sequence[int], clusters: Sequence[str]
) -> Values:
    """Return, for each question, the probability that a model's preferences for options alone give the right one.

    The preferences are measured on all other questions.

    Args:
        answers: letter of the model's answer to each question, or None.
        options: texts of each question's options.
        gold: index of the right option.
        clusters: the cluster of each question; a question and its duplicates share one.
    """
    codes, names = pd.factorize(np.asarray(clusters))
    offered, chosen = np.zeros((len(names), _CELLS)), np.zeros((len(names), _CELLS))
    cells = [option_cells(texts) for texts in options]
    for cluster, letter, own in zip(codes, answers, cells, strict=True):
        np.add.at(offered[cluster], own, 1)
        if letter is not None:
            chosen[cluster, own[LETTERS.index(letter)]] += 1
    elsewhere = offered.sum(axis=0) - offered
    rates = np.divide(chosen.sum(axis=0) - chosen, elsewhere, out=np.zeros_like(elsewhere), where=elsewhere > 0)
    sizes = np.bincount(codes)
    others = len(codes) - sizes
    answered = np.divide(chosen.sum() - chosen.sum(axis=1), others, out=np.zeros(len(names)), where=others > 0)
    found = [
        answered[cluster] * _share(rates[cluster, own], right)
        for cluster, own, right in zip(codes, cells, gold, strict=True)
    ]
    return np.array(found)


def _share(rates: NDArray[np.float64], right: int) -> float:
    total = float(rates.sum())
    return float(rates[right]) / total if total else 1 / len(rates)


def measure_waterfall(
    predictions: PredictionTables,
    questions: Mapping[str, pd.DataFrame],
    clusters: "pd.Series[str]",
    design: ComparisonDesign,
    roles: Mapping[Role, str],
    resamples: int,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the records of the steps and of the control arms, on every benchmark (docs/controls.md).

    Args:
        predictions: as `majority_vote` returns them, of the base, RLVR and the control arms.
        questions: benchmark -> question_id, options, gold.
        clusters: the cluster of each question, by its id.
        design: the comparison design, with an RLVR arm whose mode the base also has.
        roles: what a control arm is for -> its name; an absent arm is not a key.
        resamples, seed: of the bootstrap.
    """
    steps, arms = [], []
    for benchmark, table in questions.items():
        outcomes, known = _outcomes(predictions, table, benchmark, clusters, design, roles)
        drawn = Resamples(clusters.loc[table["question_id"]].tolist(), resamples, seed)
        assert design.rlvr is not None
        found = waterfall_steps(outcomes, known, design.rlvr, roles)
        steps += [{"benchmark": benchmark, **_record(step, drawn)} for step in found]
        arms += [{"benchmark": benchmark, **one} for one in _arm_differences(outcomes, design.rlvr, roles, drawn)]
    return steps, arms


def _outcomes(
    predictions: PredictionTables,
    table: pd.DataFrame,
    benchmark: str,
    clusters: "pd.Series[str]",
    design: ComparisonDesign,
    roles: Mapping[Role, str],
) -> tuple[dict[str, list[Outcome]], Values | None]:
    """Return the outcomes of each arm's seeds, and whether the base is right by log-likelihood scoring, if measured."""
    assert design.rlvr is not None
    ids, mode = table["question_id"].tolist(), design.primary(design.rlvr).mode
    options = [list(texts) for texts in table["options"]]

    def rows(model: str, of_mode: str) -> pd.DataFrame:
        found = predictions[model]
        mine = found[(found["benchmark"] == benchmark) & (found["mode"] == of_mode)]
        return mine.set_index("question_id").loc[ids]

    def outcome(model: str) -> Outcome:
        found = rows(model, mode)
        letters = [None if pd.isna(letter) else str(letter) for letter in found["lenient_letter"]]
        habit = habits(letters, options, table["gold"].tolist(), clusters.loc[ids].tolist())
        required, any_letter = (found[name].to_numpy(dtype=float) for name in ("correct", "lenient_correct"))
        return Outcome(required, any_letter, habit)

    arms = dict.fromkeys([BASE, design.rlvr, *roles.values()])
    outcomes = {arm: [outcome(model) for model in design.models[arm]] for arm in arms}
    scored = design.loglikelihood
    return outcomes, rows(BASE, scored)["correct"].to_numpy(dtype=float) if scored else None


def waterfall_steps(
    outcomes: Mapping[str, Sequence[Outcome]], known: Values | None, rlvr: str, roles: Mapping[Role, str]
) -> list[Step]:
    """Return the steps on one benchmark in their fixed order, then the gain in both readings, and `least`.

    Args:
        outcomes: arm -> one outcome for each seed; the base has one.
        known: shape (n,), 1 if the base is right by log-likelihood scoring; None if this was not measured.
        rlvr: the RLVR arm.
        roles: as for `measure_waterfall`.
    """
    steps = list(_steps(outcomes, known, rlvr, roles))
    first = _difference(outcomes, "required", rlvr, BASE)
    any_letter = _difference(outcomes, "any_letter", rlvr, BASE)
    lower = [step.parts for step in steps[:-1] if step.value < 0]
    arms = tuple(dict.fromkeys(arm for step in steps for arm in step.arms))
    return [
        *steps,
        Step("gain", "RLVR minus base, required format", (rlvr, BASE), first),
        Step("gain_any", "RLVR minus base, any readable answer", (rlvr, BASE), any_letter),
        Step("least", "the rest and all negative steps", arms, _sum([steps[-1].parts, *lower])),
    ]


def _steps(
    outcomes: Mapping[str, Sequence[Outcome]], known: Values | None, rlvr: str, roles: Mapping[Role, str]
) -> Iterator[Step]:
    """Yield the steps; their sum is the gain by the required format."""
    formatted = roles.get("format_only", BASE)
    spurious = [roles[role] for role in SPURIOUS if role in roles]
    best = max(spurious, key=lambda arm: np.mean([one.beyond for one in outcomes[arm]]), default=formatted)
    both, strict = (_difference(outcomes, name, rlvr, BASE) for name in ("any_letter", "required"))
    yield Step("reading", "answer format", (rlvr, BASE), _sum([strict, _scaled(both, -1.0)]))
    if "format_only" in roles:
        parts = _difference(outcomes, "any_letter", formatted, BASE)
        yield Step("format", "format training", (formatted, BASE), parts)
    name = "option habits" if "format_only" in roles else "format training and option habits"
    yield Step("habits", name, (rlvr, formatted), _difference(outcomes, "habit", rlvr, formatted))
    if spurious:
        parts = _difference(outcomes, "beyond", best, formatted)
        yield Step("spurious", "spurious rewards", (best, formatted, *(arm for arm in spurious if arm != best)), parts)
    beyond, also = _difference(outcomes, "beyond", rlvr, best), "" if spurious else "spurious rewards and "
    if known is None:
        yield Step("rest", f"{also}known answers and the rest", (rlvr, best), beyond)
    else:
        yield Step("known", f"{also}known answers", (rlvr, best), _scaled(beyond, known))
        yield Step("rest", f"{also}the rest", (rlvr, best), _scaled(beyond, 1 - known))


def _difference(outcomes: Mapping[str, Sequence[Outcome]], field: str, first: str, second: str) -> Parts:
    ours, theirs = ([getattr(one, field) for one in outcomes[arm]] for arm in (first, second))
    return {first: ours, second: [-value for value in theirs]}


def _scaled(parts: Parts, factor: Values | float) -> Parts:
    return {arm: [factor * value for value in seeds] for arm, seeds in parts.items()}


def _sum(terms: Sequence[Parts]) -> Parts:
    """Return the sum of contributions, seed by seed within each arm."""
    arms = dict.fromkeys(arm for parts in terms for arm in parts)
    return {
        arm: [np.sum(seeds, axis=0) for seeds in zip(*(one[arm] for one in terms if arm in one), strict=True)]
        for arm in arms
    }


def _record(step: Step, drawn: Resamples) -> dict[str, Any]:
    return {"step": step.step, "name": step.name, "arms": list(step.arms), **_interval(step.parts, drawn)}


def _interval(parts: Parts, drawn: Resamples) -> dict[str, Any]:
    """Return n, value, low and high (95 %): the interval over questions, and over seeds if every arm has three."""
    gain: Values = np.sum([np.mean(seeds, axis=0) for seeds in parts.values()], axis=0)
    ((low, high),) = drawn.intervals(gain, [0.95])
    trained = [[float(value.mean()) for value in seeds] for arm, seeds in parts.items() if arm != BASE]
    fixed = float(sum(seeds[0].mean() for arm, seeds in parts.items() if arm == BASE))
    low, high = hull((low, high), sum_interval(trained, fixed, 0.95))
    return {"n": len(gain), "value": float(gain.mean()), "low": low, "high": high}


def sum_interval(arms: Sequence[Sequence[float]], fixed: float, confidence: float) -> Interval | None:
    """Return the t-interval, over independent seeds, of a sum of arms' means and a fixed number (Welch, Satterthwaite).

    Args:
        arms: for each trained arm, one number per seed.

    Returns:
        the interval; None if an arm has fewer than three seeds, which are too few for an interval.
    """
    from scipy import stats

    if min(map(len, arms), default=0) < 3:
        return None
    centre = fixed + sum(np.mean(seeds) for seeds in arms)
    variances = np.array([np.var(seeds, ddof=1) / len(seeds) for seeds in arms])
    kept = list(compress(zip(variances, map(len, arms), strict=True), variances > 0))
    if not kept:
        return float(centre), float(centre)
    freedom = variances.sum() ** 2 / sum(variance**2 / (seeds - 1) for variance, seeds in kept)
    width = np.sqrt(variances.sum()) * stats.t.ppf((1 + confidence) / 2, freedom)
    return float(centre - width), float(centre + width)


def _arm_differences(
    outcomes: Mapping[str, Sequence[Outcome]], rlvr: str, roles: Mapping[Role, str], drawn: Resamples
) -> Iterator[dict[str, Any]]:
    """Yield each control arm's difference from the base, and RLVR's from the arm, by any readable letter."""
    for role, arm in roles.items():
        less = _interval(_difference(outcomes, "any_letter", rlvr, arm), drawn)
        yield {
            "role": role,
            "arm": arm,
            "seeds": len(outcomes[arm]),
            "accuracy": float(np.mean([one.required for one in outcomes[arm]])),
            "any_letter": float(np.mean([one.any_letter for one in outcomes[arm]])),
            **_interval(_difference(outcomes, "any_letter", arm, BASE), drawn),
            **{f"rlvr_{name}": less[key] for name, key in (("minus", "value"), ("low", "low"), ("high", "high"))},
        }
