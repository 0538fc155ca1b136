"""Check that the settings of an experiment fit its questions: letters, numbers and texts; a base of a world."""

from collections.abc import Iterator, Mapping

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.experiment import Experiment
from medrlvr.data.registry import WORLDS, Source
from medrlvr.grading.kinds import Kind
from medrlvr.grading.reward_config import load_reward
from medrlvr.runtime.errors import UserError


def check_kinds(experiment: Experiment, sources: Mapping[str, Source]) -> None:
    """Check rewards, modes and controls against the kinds of the questions that they are used on.

    Args:
        sources: the registry of data sets; it contains all those of the experiment.

    Raises:
        UserError: a reward, a mode or a control needs options, but the answers of its questions are numbers or texts;
            or the base is that of a world from which the training questions do not come.
    """
    home = sources[experiment.data.train].home
    if experiment.base.source == "rebuilt" and home not in WORLDS:
        raise UserError(
            f"base.source: rebuilt trains the base model of a synthetic world ({' or '.join(WORLDS)}), but"
            f" {experiment.data.train} does not come from one. Choose another source or data.train."
        )
    for name, arm in experiment.arms.items():
        if isinstance(arm, RlvrArm):
            for kind in sources[experiment.data.train].kinds:
                load_reward(arm.reward, f"arms.{name}.reward", kind, drawn=True)
    for key, why in [*_needing_letters(experiment, sources), *_needing_options(experiment, sources)]:
        raise UserError(f"{key}: {why}")


def _needing_letters(experiment: Experiment, sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    """Yield each setting of an arm that needs letters as the answers of the training questions, and the reason."""
    kinds = _others(sources[experiment.data.train])
    if not kinds:
        return
    these = f"the training answers of {experiment.data.train} are of the kind {' and '.join(kinds)}"
    for name, arm in experiment.arms.items():
        if isinstance(arm, RlvrArm) and arm.labels != "gold":
            yield f"arms.{name}.labels", f"{arm.labels} replaces the right letter, but {these}. Use gold."
        if isinstance(arm, SftArm) and arm.targets != "letter":
            yield f"arms.{name}.targets", f"{arm.targets} needs questions with options, but {these}. Use letter."


def _needing_options(experiment: Experiment, sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    """Yield each setting that needs options which questions do not have, and the reason."""
    held_out = {name: _others(sources[data]) for name, data in experiment.held_out().items()}
    without = {name: kinds for name, kinds in held_out.items() if kinds}
    for dataset in experiment.data.none_of_the_above:
        kinds = [kind for source in sources.values() if source.dataset == dataset for kind in source.kinds]
        if "letter" not in kinds:
            yield "data.none_of_the_above", f"{dataset} has no options, to which one could be added. Remove {dataset}."
    if not without:
        return
    name, kinds = next(iter(without.items()))
    these = f"the answers of {name} are of the kind {' and '.join(kinds)}, without options"
    for key, modes in _modes(experiment).items():
        for mode in modes:
            if experiment.modes[mode].answer_format == "loglikelihood":
                yield key, f"{mode} compares the probabilities of the options' letters, but {these}. Remove {mode}."
    for benchmark, kinds in without.items():
        if benchmark in experiment.benchmarks and experiment.benchmarks[benchmark].controls:
            yield (
                f"benchmarks.{benchmark}.controls",
                f"a control changes the options, but the answers are of the kind {' and '.join(kinds)}. Remove the"
                " controls.",
            )
    controls = experiment.controls
    for control, needs in (
        ("shifts", "moves the options"),
        ("sensitivity", "reads the probabilities of the options' letters"),
        ("formats", "asks for letters in other formats"),
        ("waterfall", "compares preferences for options"),
    ):
        if getattr(controls, control):
            yield f"controls.{control}", f"it {needs}, but {these}. Remove this setting."


def _others(source: Source) -> list[Kind]:
    return [kind for kind in source.kinds if kind != "letter"]


def _modes(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Return the key of every list of modes that is used -> the modes."""
    arms = {f"arms.{name}.modes": arm.modes for name, arm in experiment.arms.items()}
    external = {f"external_models.{name}.modes": one.modes for name, one in experiment.external_models.items()}
    return {"base.modes": experiment.base.modes, **arms, **external}
