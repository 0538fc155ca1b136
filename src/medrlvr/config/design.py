"""The comparison design: which systems are compared, fixed by the configuration before any answer exists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from medrlvr.config.experiment import DEV_SUFFIX, Experiment


class System(NamedTuple):
    arm: str
    mode: str


@dataclass(frozen=True, slots=True)
class ComparisonDesign:
    """What is compared with what, fixed by the configuration before any answer is seen.

    Attributes:
        models: arm -> its models, one for each seed, in their order.
        runs: arm -> the training runs that its models are of, which two arms may share; None where nothing was trained.
        modes: arm -> how it is asked; by the first it is judged.
        sets: everything asked -> its benchmark and, of its controls, which it is.
        rlvr, sft: the arms that stand for the paper's, or None.
        loglikelihood: the base's mode of log-likelihood scoring, or None.
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
    loglikelihood: str | None
    distributions: Mapping[str, str]
    papers: bool
    claims: bool

    @property
    def benchmarks(self) -> list[str]:
        """Those that are no control of another."""
        return [name for name, (_, control) in self.sets.items() if control is None]

    def systems(self) -> list[System]:
        return [System(arm, mode) for arm, modes in self.modes.items() for mode in modes]

    def primary(self, arm: str) -> System:
        return System(arm, self.modes[arm][0])

    def pairs(self) -> Iterator[tuple[System, System, str]]:
        """Yield the pairs that say something, the later arm first, and what each is: primary or exploratory.

        They are of one mode, or of one arm, or both what their arms are judged by.
        """
        primary = {self.primary(arm) for arm in (self.rlvr, self.sft) if arm}
        # RLVR minus the other, whichever the configuration names first.
        order = sorted(self.models, key=lambda arm: arm == self.rlvr)
        systems = sorted(self.systems(), key=lambda system: order.index(system.arm))
        for second, first in combinations(systems, 2):
            judged = first == self.primary(first.arm) and second == self.primary(second.arm)
            if {first, second} == primary and judged:
                yield first, second, "primary"
            elif judged or first.mode == second.mode or first.arm == second.arm:
                yield first, second, "exploratory"


def comparison_design(experiment: Experiment) -> ComparisonDesign:
    """Return the comparison design of an experiment."""
    models: dict[str, list[str]] = {}
    for model in experiment.models():
        models.setdefault(model.split("/")[0], []).append(model)
    scored = [mode for mode in experiment.base.modes if experiment.modes[mode].answer_format == "loglikelihood"]
    runs = {arm: arm if arm in experiment.arms else arm.removesuffix(DEV_SUFFIX) for arm in models}
    return ComparisonDesign(
        models=models,
        runs={arm: run if run in experiment.arms else None for arm, run in runs.items()},
        modes={arm: experiment.modes_of(arm) for arm in models},
        sets=experiment.eval_sets(),
        rlvr=experiment.primary_arm("rlvr"),
        sft=experiment.primary_arm("sft"),
        loglikelihood=scored[0] if scored else None,
        distributions={name: benchmark.distribution for name, benchmark in experiment.benchmarks.items()},
        papers=matches_paper(experiment),
        claims=experiment.claims,
    )


def matches_paper(experiment: Experiment) -> bool:
    """Return whether an experiment has every value that the paper states."""
    defaults, sft, rlvr = Experiment(), experiment.primary_arm("sft"), experiment.primary_arm("rlvr")
    if sft is None or rlvr is None:
        return False
    ours, papers = [
        [
            one.base.name.partition("@")[0],
            one.data.train,
            one.data.train_rows,
            one.data.none_of_the_above,
            sorted((test.data, test.distribution, test.rows) for test in one.benchmarks.values()),
            (one.prompts.question, one.prompts.chain_of_thought),
            [getattr(one.arms[first], name) for name in ("epochs", "learning_rates")],
            [
                getattr(one.arms[second], name)
                for name in ("reward", "rows", "episodes", "advantage_estimator", "has_reference")
            ],
            [
                (one.template(mode), one.modes[mode].answer_format, one.modes[mode].samples)
                for mode in (one.modes_of(arm)[0] for arm in (first, second))
            ],
        ]
        for one, first, second in ((experiment, sft, rlvr), (defaults, "sft", "rlvr"))
    ]
    return ours == papers
