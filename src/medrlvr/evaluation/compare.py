"""Models beside each other on the same questions: pairs, controls, and where a gain comes from.

A system is an arm in one of its modes, over all its training seeds; base and checkpoints are arms of one seed. What an
arm is judged by is its first mode.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from medrlvr.evaluation.statistics import Interval, Resamples, Values, compare_pair, holm, hull, seed_interval
from medrlvr.prompts import LETTERS

CONFIDENCES = (0.95, 0.9)
"""Of differences, and of the parity test, whose two one-sided tests at 5 % each are one interval of 90 %."""


class System(NamedTuple):
    arm: str
    mode: str


@dataclass(frozen=True, slots=True)
class Design:
    """What is compared with what, fixed by the configuration before any answer is seen.

    Attributes:
        models: arm -> its models, one for each seed, in their order.
        runs: arm -> the training runs that its models are of, which two arms may share; None where nothing was trained.
        modes: arm -> how it is asked; by the first it is judged.
        sets: everything asked -> its benchmark and, of its controls, which it is.
        rlvr, sft: the arms that stand for the paper's, or None.
        constrained: the base's mode of constrained scoring, or None.
        distributions: benchmark -> "in" or "out".
        papers: whether this is the paper's experiment, or only one like it.
        claims: False where the experiment is too small for any.
    """

    models: Mapping[str, Sequence[str]]
    runs: Mapping[str, str | None]
    modes: Mapping[str, Sequence[str]]
    sets: Mapping[str, tuple[str, str | None]]
    rlvr: str | None
    sft: str | None
    constrained: str | None
    distributions: Mapping[str, str]
    papers: bool
    claims: bool

    @property
    def benchmarks(self) -> list[str]:
        """Those that are no control of another."""
        return [name for name, (_, control) in self.sets.items() if control is None]

    def systems(self) -> list[System]:
        return [System(arm, mode) for arm, modes in self.modes.items() for mode in modes]

    def judged(self, arm: str) -> System:
        return System(arm, self.modes[arm][0])

    def pairs(self) -> Iterator[tuple[System, System, str]]:
        """Yield the pairs that say something, the later arm first, and what each is: primary or exploratory.

        They are of one mode, or of one arm, or both what their arms are judged by.
        """
        primary = {self.judged(arm) for arm in (self.rlvr, self.sft) if arm}
        # RLVR minus the other, whichever the configuration names first.
        order = sorted(self.models, key=lambda arm: arm == self.rlvr)
        systems = sorted(self.systems(), key=lambda system: order.index(system.arm))
        for second, first in combinations(systems, 2):
            judged = first == self.judged(first.arm) and second == self.judged(second.arm)
            if {first, second} == primary and judged:
                yield first, second, "primary"
            elif judged or first.mode == second.mode or first.arm == second.arm:
                yield first, second, "exploratory"


Decisions = Mapping[str, pd.DataFrame]
"""Model -> table as `decide` returns it."""


class Answers:
    """Right and wrong of every model on one benchmark, in one order of questions."""

    def __init__(self, decisions: Decisions, benchmark: str, design: Design) -> None:
        tables = {
            (model, mode): table[(table["benchmark"] == benchmark) & (table["mode"] == mode)].set_index("question_id")
            for arm, models in design.models.items()
            for model in models
            for table in [decisions[model]]
            for mode in design.modes[arm]
        }
        tables = {key: table for key, table in tables.items() if len(table)}
        self.questions = next(iter(tables.values())).index
        self.tables = {key: table.loc[self.questions] for key, table in tables.items()}
        self._design = design

    def correct(self, system: System) -> list[Values]:
        """Return for each seed what it got right: shape (n,), 1 or 0."""
        return [
            self.tables[model, system.mode]["correct"].to_numpy(dtype=float)
            for model in self._design.models[system.arm]
        ]


def compare_systems(
    decisions: Decisions, clusters: pd.DataFrame, design: Design, resamples: int, seed: int
) -> list[dict[str, Any]]:
    """Return one record per benchmark and pair of `design.pairs`, as docs/metrics.md describes it.

    Args:
        clusters: question_id; `cluster`, of questions that are duplicates of each other; `repeats`, the question that
            one repeats, itself if it is the first.
        resamples: of the bootstrap.
        seed: of the resamples.
    """
    known = clusters.set_index("question_id")
    records: list[dict[str, Any]] = []
    for benchmark in design.benchmarks:
        answers = Answers(decisions, benchmark, design)
        groups = known.loc[answers.questions, "cluster"]
        distinct = ~known.loc[answers.questions, "repeats"].duplicated().to_numpy()
        drawn = Resamples(groups.tolist(), resamples, seed)
        drawn_distinct = Resamples(groups[distinct].tolist(), resamples, seed)
        for first, second, role in design.pairs():
            ours, theirs = answers.correct(first), answers.correct(second)
            gain = np.mean(ours, axis=0) - np.mean(theirs, axis=0)
            over_questions = dict(zip(CONFIDENCES, drawn.intervals(gain, CONFIDENCES), strict=True))
            run, other_run = design.runs[first.arm], design.runs[second.arm]
            means, other_means = _means(ours, run), _means(theirs, other_run)
            over_seeds = {
                confidence: seed_interval(means, other_means, confidence, paired=run == other_run)
                for confidence in CONFIDENCES
            }
            ((distinct_low, distinct_high),) = drawn_distinct.intervals(gain[distinct], [0.95])
            models = list(zip(design.models[first.arm], ours, strict=True))
            others = list(zip(design.models[second.arm], theirs, strict=True))
            records.append(
                {
                    "benchmark": benchmark,
                    "role": role,
                    "first": first._asdict() | {"models": list(design.models[first.arm])},
                    "second": second._asdict() | {"models": list(design.models[second.arm])},
                    "n": len(gain),
                    "difference": float(gain.mean()),
                    **{
                        f"interval_{round(100 * confidence)}": _ends(hull(over_questions[confidence], interval))
                        for confidence, interval in over_seeds.items()
                    },
                    "over_questions": _ends(over_questions[0.95]),
                    "over_seeds": _ends(over_seeds[0.95]),
                    "distinct": {
                        "n": int(distinct.sum()),
                        "difference": float(gain[distinct].mean()),
                        "low": distinct_low,
                        "high": distinct_high,
                    },
                    "by_seed": [
                        {"first": model, "second": other} | asdict(compare_pair(mine, other_correct, drawn))
                        for (model, mine), (other, other_correct) in _matched(models, others)
                    ],
                }
            )
    primary = [record for record in records if record["role"] == "primary"]
    for record, p in zip(primary, holm([record["by_seed"][0]["mcnemar_p"] for record in primary]), strict=True):
        record["holm_p"] = p
    return records


def _means(seeds: Sequence[Values], run: str | None) -> list[float] | float:
    """Return an accuracy for each seed; of what was not trained, and has none, the one."""
    means = [float(correct.mean()) for correct in seeds]
    return means if run else means[0]


def _matched(first: list[Any], second: list[Any]) -> Iterator[tuple[Any, Any]]:
    """Pair seeds in their order, as many as both have; what has just one is paired with each of the other's."""
    longest = max(len(first), len(second))
    yield from zip(
        first * longest if len(first) == 1 else first, second * longest if len(second) == 1 else second, strict=False
    )


def _ends(interval: Interval | None) -> dict[str, float] | None:
    return interval and {"low": interval[0], "high": interval[1]}


def compare_controls(
    decisions: Decisions,
    questions: Mapping[str, pd.DataFrame],
    clusters: pd.DataFrame,
    design: Design,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Return one record per control and model: its accuracy beside the benchmark's, on the same questions.

    `moved` counts the questions whose answered option stands under another letter in the control, and that are answered
    there too; `same_text` and `same_letter` are the fractions of them that stay with the content and with the letter.

    Args:
        questions: what was asked -> question_id, options.
    """
    known = clusters.set_index("question_id")["cluster"]
    records = []
    for name, (benchmark, control) in design.sets.items():
        if control is None:
            continue
        plain, varied = (Answers(decisions, asked, design) for asked in (benchmark, name))
        drawn = Resamples(known.loc[plain.questions].tolist(), resamples, seed)
        shown = [list(options) for options in questions[name].set_index("question_id").loc[plain.questions, "options"]]
        for (model, mode), after in varied.tables.items():
            before, after = plain.tables[model, mode], after.loc[plain.questions]
            gain = after["correct"].to_numpy(dtype=float) - before["correct"].to_numpy(dtype=float)
            ((low, high),) = drawn.intervals(gain, [0.95])
            letters = [
                LETTERS[options.index(text)] if options.count(text) == 1 else None
                for text, options in zip(before["answered"], shown, strict=True)
            ]
            new = pd.Series(letters, index=plain.questions)
            moved = new.notna() & (new != before["letter"]) & after["letter"].notna()
            records.append(
                {
                    "set": name,
                    "benchmark": benchmark,
                    "control": control,
                    "model": model,
                    "mode": mode,
                    "n": len(gain),
                    "accuracy": float(before["correct"].mean()),
                    "control_accuracy": float(after["correct"].mean()),
                    "difference": float(gain.mean()),
                    "low": low,
                    "high": high,
                    "moved": int(moved.sum()),
                    "same_text": float((after["letter"] == new)[moved].mean()) if moved.any() else None,
                    "same_letter": float((after["letter"] == before["letter"])[moved].mean()) if moved.any() else None,
                }
            )
    return records


def decompose_gain(decisions: Decisions, design: Design) -> list[dict[str, Any]]:
    """Return, per benchmark and seed, where RLVR's gain over the base comes from; nothing without the base's answers.

    Both are asked in RLVR's first mode. The questions that RLVR wins are counted by whether the base's answer could be
    parsed; if not, by whether it named the right letter all the same (`said`); else by whether the base had the right
    letter under constrained scoring (`known`, in part by luck) or showed it in neither way (`new`).
    """
    arm = design.rlvr
    if arm is None or design.constrained is None or design.judged(arm).mode not in design.modes["base"]:
        return []
    mode = design.judged(arm).mode
    records = []
    for benchmark in design.benchmarks:
        answers = Answers(decisions, benchmark, design)
        base = answers.tables["base", mode]
        parsed, said = base["letter"].notna(), base["lenient_correct"].astype(bool)
        knows = answers.tables["base", design.constrained]["correct"].astype(bool)
        for model in design.models[arm]:
            right, before = answers.tables[model, mode]["correct"].astype(bool), base["correct"].astype(bool)
            gained = right & ~before
            cells = {
                "unparsed_said": gained & ~parsed & said,
                "unparsed_known": gained & ~parsed & ~said & knows,
                "unparsed_new": gained & ~parsed & ~said & ~knows,
                "wrong_known": gained & parsed & knows,
                "wrong_new": gained & parsed & ~knows,
                "lost": before & ~right,
            }
            counts = {name: int(cell.sum()) for name, cell in cells.items()}
            records.append({"benchmark": benchmark, "model": model, "mode": mode, "n": len(base), **counts})
    return records


def summarise_arms(decisions: Decisions, design: Design) -> list[dict[str, Any]]:
    """Return one record per benchmark and system: its accuracy over training seeds, with their t-interval."""
    records = []
    for benchmark in design.benchmarks:
        answers = Answers(decisions, benchmark, design)
        for system in design.systems():
            means = [float(correct.mean()) for correct in answers.correct(system)]
            interval = seed_interval(means, 0.0, 0.95) if design.runs[system.arm] else None
            records.append(
                {
                    "benchmark": benchmark,
                    **system._asdict(),
                    "seeds": len(means) if design.runs[system.arm] else 0,
                    "n": len(answers.questions),
                    "accuracy": float(np.mean(means)),
                    "lowest": min(means),
                    "highest": max(means),
                    "over_seeds": _ends(interval),
                }
            )
    return records


def whole_table(
    metrics: Mapping[str, Sequence[Mapping[str, Any]]], sanity: Mapping[str, Sequence[Mapping[str, Any]]]
) -> pd.DataFrame:
    """Return every accuracy: a row per benchmark or control, model, mode and stratum, and sanity rows last.

    Args:
        metrics: model -> its records, as `summarise` returns them.
        sanity: benchmark or control -> as `sanity_rows` returns them.
    """
    rows = []
    for model, records in metrics.items():
        for record in records:
            key = {"benchmark": record["benchmark"], "model": model, "mode": record["mode"]}
            facts = {name: value for name, value in record.items() if not isinstance(value, dict | list)}
            rows.append({**key, "stratum": "all", "value": "", **facts})
            rows += [{**key, **stratum} for stratum in record["strata"]]
    for benchmark, policies in sanity.items():
        for policy in policies:
            key = {"benchmark": benchmark, "model": policy["policy"], "mode": "policy"}
            rows.append({**key, "stratum": "all", "value": "", "n": policy["n"], "accuracy": policy["accuracy"]})
            rows += [{**key, **stratum} for stratum in policy["strata"]]
    return pd.DataFrame(rows)
