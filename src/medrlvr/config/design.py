"""The comparison design: which systems are compared. The configuration fixes it before any answer exists."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

from medrlvr.config.experiment import DEV_SUFFIX, Experiment

SIGNIFICANCE = 0.05
"""A difference of a control counts only if its interval excludes 0 and the p-value of its sign test is smaller."""
BLOCK_CHANGES = ("emptied", "shuffled", "swapped", "replaced")
"""Changes of a think block after which the answer is compared with the original one; `emptied` has no sentence."""
DEPENDENCE = "RLVR's answers depend on its chain of thought"
"""The claim of the verdict table that these comparisons decide."""
LEAST_AGREEMENT = 0.95
"""If the forced letter is the written one in fewer questions, the comparisons are not about the model's own answers."""


class System(NamedTuple):
    """One arm in one evaluation mode."""

    arm: str
    mode: str


@dataclass(frozen=True, slots=True)
class ComparisonDesign:
    """The systems and pairs that are compared, fixed by the configuration before any answer exists.

    Attributes:
        models: arm -> its models, one per seed, in the order of the seeds.
        runs: arm -> the arm whose training runs produced its models; None if it was not trained here. Two arms may
            share runs.
        modes: arm -> its evaluation modes; the first is the primary mode.
        sets: eval set -> its benchmark and, for a control, which control.
        rlvr, sft: the arms that represent the paper's, or None.
        loglikelihood: the base's mode with log-likelihood scoring, or None.
        distributions: benchmark -> "in" or "out".
        papers: whether the experiment has every value that the paper states.
        claims: False if the experiment is too small to support claims.
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
        """Eval sets that are not controls."""
        return [name for name, (_, control) in self.sets.items() if control is None]

    def systems(self) -> list[System]:
        """Return every arm in each of its modes."""
        return [System(arm, mode) for arm, modes in self.modes.items() for mode in modes]

    def primary(self, arm: str) -> System:
        """Return an arm in its primary mode."""
        return System(arm, self.modes[arm][0])

    def pairs(self) -> Iterator[tuple[System, System, str]]:
        """Yield each meaningful pair, the later arm first, and its kind: primary or exploratory.

        The two systems share a mode or an arm, or both use the primary mode of their arm.
        """
        primary = {self.primary(arm) for arm in (self.rlvr, self.sft) if arm}
        # The difference is always RLVR minus the other arm, whatever their order in the configuration.
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


_OBJECTIVE = ("clip_high", "importance_weights")
"""Settings with which the objective differs from the paper's equation 1."""


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
            [getattr(one.arms[first], name) for name in ("epochs", "learning_rates", "targets")],
            [
                getattr(one.arms[second], name)
                for name in (
                    "reward",
                    "labels",
                    "rows",
                    "episodes",
                    "advantage_estimator",
                    "has_reference",
                    *_OBJECTIVE,
                )
            ],
            [
                (one.template(mode), one.modes[mode].answer_format, one.modes[mode].samples)
                for mode in (one.modes_of(arm)[0] for arm in (first, second))
            ],
        ]
        for one, first, second in ((experiment, sft, rlvr), (defaults, "sft", "rlvr"))
    ]
    return ours == papers
