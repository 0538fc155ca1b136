"""Settings of the controls that show what a gain consists of (docs/controls.md)."""

from typing import Annotated, Literal

from pydantic import Field

from medrlvr.config.base import Positive, Settings

PROBE_TOKENS = 16
"""More than the tokens that a prompt with a changed think block has in addition to the prompt and the response."""

MAJORITY_SAMPLES = 8
"""Responses of the base to each training question, whose most frequent letter is the label of `labels: majority`."""

Role = Literal["format_only", "random", "majority", "wrong_label", "rft"]
"""What an arm of the waterfall is for (docs/controls.md)."""
SPURIOUS: tuple[Role, ...] = ("random", "majority", "wrong_label")
"""Arms whose reward has no signal about the right option."""


class Controls(Settings):
    """Controls of what a gain consists of (docs/controls.md). Each runs only if an overlay sets it."""

    questions: Positive = 110
    """Ours: number of questions drawn from each benchmark for these controls. Fewer than 100 support no claim."""
    curve_questions: Positive = 50
    """Ours: number of these questions for the checkpoints before the last, on the benchmarks in distribution."""
    sensitivity: bool = False
    """Ours: measures how RLVR's answers change if the chain of thought is cut, emptied, shuffled or swapped."""
    samples: Positive | None = None
    """Ours: responses to each of the questions, for pass@k and maj@k with k up to this number. null: not measured."""
    shifts: Annotated[int, Field(gt=0, le=10)] | None = None
    """Ours: cyclic shifts of the options, as controls of every benchmark, with key_replaced and none_of_the_above. The
    cyclic orders of a question with m options are covered by m - 1. null: only the controls that a benchmark lists."""
    formats: bool = False
    """Ours: measures the accuracy in other answer formats, and which questions the base remembers."""
    waterfall: bool = False
    """Ours: divides RLVR's gain into steps, with the arms of waterfall_arms."""
    waterfall_arms: dict[Role, str | None] = Field(default={})
    """Ours: the arm for each role: format_only, random, majority, wrong_label, rft. Without an arm, or with null, its
    step is merged into the next one."""

    @property
    def roles(self) -> dict[Role, str]:
        """Return the arms of the waterfall that exist, by their roles."""
        return {role: arm for role, arm in self.waterfall_arms.items() if arm is not None}
