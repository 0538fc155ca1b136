"""A reward of a user's own, as docs/configuration.md shows one."""

from medrlvr.grading.grader import Grade

WRONG = -0.5


def reward(grade: Grade) -> float:
    """Return less for a wrong letter than the paper does."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else WRONG
