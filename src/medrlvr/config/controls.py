"""Settings of the controls that show what a gain consists of (docs/controls.md)."""

from medrlvr.config.base import Positive, Settings

PROBE_TOKENS = 16
"""More than the tokens that a prompt with a changed think block has in addition to the prompt and the response."""


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
