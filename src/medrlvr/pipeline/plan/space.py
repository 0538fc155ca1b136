"""Disk that jobs need at peak and leave afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from medrlvr.config.arms import RlvrArm, SftArm
from medrlvr.config.experiment import Experiment
from medrlvr.pipeline.plan.facts import Facts
from medrlvr.pipeline.plan.jobs import Job
from medrlvr.pipeline.plan.work import candidate_count, run_update_sizes
from medrlvr.training.disk import disk_needed, sft_disk_needed


@dataclass(frozen=True, slots=True)
class Space:
    """Disk that a job needs at peak, and that its results keep, in bytes."""

    peak: int
    left: int


def space(job: Job, experiment: Experiment, facts: Facts) -> Space | None:
    """Return the disk that a job needs; None if it needs little, or if `facts` does not have the sizes."""
    if facts.weights is None:
        return None
    machine, arm = experiment.machine, experiment.arms.get(job.wildcards.get("arm", ""))
    if job.rule == "fetch_model":
        size = 2 * facts.weights.parameters + facts.weights.others
        return Space(size, size)
    if job.rule == "train_sft" and isinstance(arm, SftArm):
        needed = sft_disk_needed(facts.weights, arm, machine)
        return Space(needed.models + needed.trainer, needed.models)
    if job.rule == "train_rlvr" and isinstance(arm, RlvrArm) and facts.train is not None:
        needed = disk_needed(facts.weights, arm, machine, run_update_sizes(arm, facts.train))
        # The last and the selected checkpoint stay. Their copies in models/ are hard links and need no disk.
        candidates = candidate_count(arm, facts.train)
        kept = candidates if experiment.evaluation.keep_checkpoints else min(2, candidates)
        left = needed.models // candidates * kept + needed.rollouts
        return Space(needed.models + needed.trainer + needed.rollouts, left)
    return None


def peak_space(spaces: Sequence[Space], side_by_side: bool) -> int:
    """Return the peak disk of several jobs, in bytes.

    Args:
        spaces: disk of each job.
        side_by_side: whether all jobs run at once. Otherwise one job runs at a time; what other jobs leave is added.
    """
    if side_by_side:
        return sum(one.peak for one in spaces)
    return sum(one.left for one in spaces) + max((one.peak - one.left for one in spaces), default=0)
