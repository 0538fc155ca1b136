"""The first screen of the report: accuracies in both readings, RLVR's gain, and how far the result can be trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from medrlvr.config.design import ComparisonDesign, System
from medrlvr.config.experiment import DEV_SUFFIX
from medrlvr.report.metrics_table import accuracy_interval

Gain = Literal["beyond format", "format only", "no gain", "worse"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of accuracies with its 95 % interval, in fractions."""

    difference: float
    low: float
    high: float

    @property
    def points(self) -> str:
        """The difference in points, with an asterisk if the interval excludes zero."""
        return f"{signed(self.difference)}{'*' if self.low > 0 or self.high < 0 else ''}"

    def __str__(self) -> str:
        """Return the difference with its interval, in points."""
        return f"{signed(self.difference)} ({signed(self.low)} to {signed(self.high)})"


@dataclass(frozen=True, slots=True)
class Scored:
    """A system on a benchmark: accuracies in both readings, as fractions, means over seeds.

    Attributes:
        low, high: 95 % interval of `accuracy`: with one seed over questions, with three or more over seeds, otherwise
            None.
        seeds: number of training seeds; the base has none.
        models: the system's models, one for each seed.
    """

    label: str
    mode: str
    accuracy: float
    any_letter: float
    low: float | None
    high: float | None
    seeds: int
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Results on one benchmark.

    Attributes:
        title, distribution: of the benchmark.
        n: number of questions.
        guess: accuracy of uniform guesses; None for questions without options.
        base: the base in RLVR's mode; None if it was not evaluated in it.
        best: the base in the mode with the highest accuracy by any readable answer.
        sft: SFT in its primary mode, or None.
        rlvr: RLVR in its primary mode.
        required, any_letter: RLVR minus `base` in both readings, or None.
    """

    title: str
    distribution: str
    n: int
    guess: float | None
    base: Scored | None
    best: Scored
    sft: Scored | None
    rlvr: Scored
    required: Difference | None
    any_letter: Difference | None

    @property
    def gain(self) -> Gain:
        return _gain(self.required, self.any_letter)

    @property
    def compared(self) -> list[Scored]:
        """Base, SFT and RLVR, as far as they exist."""
        return [scored for scored in (self.base, self.sft, self.rlvr) if scored]

    @property
    def systems(self) -> list[Scored]:
        """`compared`, with the base's best mode if it is not RLVR's."""
        if self.best.mode == self.rlvr.mode:
            return self.compared
        best = replace(self.best, label=f"{self.best.label}, {mode_words(self.best.mode)}")
        return [*([self.base] if self.base else []), best, *([self.sft] if self.sft else []), self.rlvr]


def find_results(
    metrics: pd.DataFrame,
    comparisons: Mapping[str, Any],
    benchmarks: Mapping[str, Any],
    design: ComparisonDesign,
) -> list[Finding]:
    """Return the results on each benchmark.

    Args:
        metrics: as `read_metrics` returns it.
        comparisons: comparisons.json.
        benchmarks: benchmark -> its settings.
        design: the experiment's comparison design, with an RLVR arm.
    """
    assert design.rlvr is not None
    primary = design.primary(design.rlvr)
    findings = []
    for name, benchmark in benchmarks.items():
        here = metrics[metrics["benchmark"] == name]
        arms = [row for row in comparisons["arms"] if row["benchmark"] == name]
        base = {mode: _scored(here, arms, System("base", mode), design) for mode in design.modes["base"]}
        pair = _pair(comparisons["pairs"], name, primary)
        findings.append(
            Finding(
                title=benchmark["title"],
                distribution=benchmark["distribution"],
                n=int(here["n"].iloc[0]),
                guess=guessing(comparisons, name),
                base=base.get(primary.mode),
                best=max(base.values(), key=lambda scored: scored.any_letter),
                sft=_scored(here, arms, design.primary(design.sft), design) if design.sft else None,
                rlvr=_scored(here, arms, primary, design),
                required=_difference(pair) if pair else None,
                any_letter=_difference(pair["any_letter"]) if pair else None,
            )
        )
    return findings


def guessing(comparisons: Mapping[str, Any], benchmark: str) -> float | None:
    """Return the accuracy of uniform guesses on a benchmark; None if not all of its questions have options."""
    policies = {row["policy"]: float(row["accuracy"]) for row in comparisons["sanity"][benchmark]}
    return policies.get("uniform random")


def _scored(here: pd.DataFrame, arms: Sequence[Mapping[str, Any]], system: System, design: ComparisonDesign) -> Scored:
    own = here[here["model"].isin(design.models[system.arm]) & (here["mode"] == system.mode)]
    summary = next(row for row in arms if (row["arm"], row["mode"]) == system)
    low, high = accuracy_interval(own, summary["over_seeds"])
    return Scored(
        label=arm_label(system.arm, design),
        mode=system.mode,
        accuracy=float(own["accuracy"].mean()),
        any_letter=float(own["lenient_accuracy"].mean()),
        low=low,
        high=high,
        seeds=summary["seeds"],
        models=tuple(design.models[system.arm]),
    )


def _pair(pairs: Sequence[Mapping[str, Any]], benchmark: str, rlvr: System) -> Mapping[str, Any] | None:
    """Return the comparison of RLVR with the base in the same mode, if there is one."""
    wanted = (rlvr, System("base", rlvr.mode))
    for pair in pairs:
        sides = tuple(System(pair[side]["arm"], pair[side]["mode"]) for side in ("first", "second"))
        if pair["benchmark"] == benchmark and sides == wanted:
            return pair
    return None


def _difference(record: Mapping[str, Any]) -> Difference:
    interval = record["interval_95"]
    return Difference(record["difference"], interval["low"], interval["high"])


def _gain(required: Difference | None, any_letter: Difference | None) -> Gain:
    """Classify RLVR's gain over the base by the two 95 % intervals; the reading by any letter comes first."""
    if required is None or any_letter is None:
        return "no gain"
    if any_letter.low > 0:
        return "beyond format"
    if required.low > 0:
        return "format only"
    return "worse" if any_letter.high < 0 or required.high < 0 else "no gain"


def describe_gain(finding: Finding) -> str:
    """Return what RLVR gains over its base, in one sentence by a fixed rule on the two intervals.

    The sentence ends with the least favourable comparison: with the base's best mode, if that is not RLVR's mode.
    """
    if finding.any_letter is None:
        return f"The base was not evaluated in RLVR's mode. {_least(finding)}".strip()
    points = _with_interval(finding.any_letter)
    sentence = {
        "beyond format": f"RLVR's gain goes beyond format by {points}.",
        "format only": f"The gain is format: by any readable answer, the difference is {points}.",
        "no gain": f"No gain was found: by any readable answer, the difference is {points}.",
        "worse": f"RLVR is worse than its base: by any readable answer, the difference is {points}.",
    }[finding.gain]
    return f"{sentence} {_least(finding)}".strip()


def _least(finding: Finding) -> str:
    """Return the comparison with the base's best mode; empty if it is RLVR's mode.

    It has no interval, because this pair is not part of the comparison design.
    """
    best = finding.best
    if best.mode == finding.rlvr.mode:
        return ""
    difference = signed(finding.rlvr.any_letter - best.any_letter)
    return f"Minus the base's best mode ({mode_words(best.mode)}, {100 * best.any_letter:.1f}): {difference}."


def _with_interval(value: Difference) -> str:
    return f"{signed(value.difference)} points ({signed(value.low)} to {signed(value.high)})"


def signed(value: float) -> str:
    """Return a difference of fractions in points, with its sign."""
    return f"{100 * value:+.1f}"


def arm_label(arm: str, design: ComparisonDesign) -> str:
    """Return an arm's name for readers: RLVR and SFT for the paper's arms, otherwise the arm's own name."""
    plain = arm.removesuffix(DEV_SUFFIX)
    name = {design.rlvr: "RLVR", design.sft: "SFT"}.get(plain, plain)
    return f"{name}, best on development" if arm != plain else name


def model_label(model: str, design: ComparisonDesign) -> str:
    """Return a model's name for readers: its arm's name and its seed."""
    arm, _, seed = model.partition("/seed")
    return f"{arm_label(arm, design)}, seed {seed}" if seed else arm_label(arm, design)


def mode_words(mode: str) -> str:
    """Return a mode's name in words."""
    return mode.replace("_", " ")
