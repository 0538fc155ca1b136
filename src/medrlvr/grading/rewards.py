"""Reward terms as pure functions of a Grade (paper, section 2.2), and weighted sums of them.

A penalty is -1 if it applies and 0 otherwise, so its weight is the cost of one violation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from medrlvr.grading.grader import Grade
from medrlvr.grading.kinds import Kind, KindGrade


def paper(grade: Grade) -> float:
    """-1 without a valid format, 0 for a wrong or unreadable answer, +1 for the gold letter (paper, section 2.2)."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else 0.0


def binary(grade: Grade) -> float:
    """+1 for the gold letter, else 0: an invalid format costs no more than a wrong answer."""
    return 1.0 if grade.correct else 0.0


def wrong_penalty(grade: Grade, wrong: float = -0.5) -> float:
    """The paper's reward with `wrong` for a wrong or unreadable answer (ablation in section 2.2; no value is given)."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if grade.correct else wrong


def strict(grade: Grade) -> float:
    """The paper's reward, but only the strict format is valid: text before `<think>` or repeated tags earn -1."""
    if not grade.strict_format:
        return -1.0
    return 1.0 if grade.correct else 0.0


def format_only(grade: Grade) -> float:
    """+1 for a valid format, else -1: a control that ignores the answer."""
    return 1.0 if grade.valid_format else -1.0


def random(grade: Grade, draw: float, rate: float = 0.5) -> float:
    """-1 without a valid format; otherwise +1 if `draw` is below `rate`, else 0: a control that ignores the answer."""
    if not grade.valid_format:
        return -1.0
    return 1.0 if draw < rate else 0.0


def leak_penalty(grade: Grade, within_chars: float = 100) -> float:
    """-1 if the think block names the option answered within its first `within_chars` characters (paper, stage 4)."""
    return -1.0 if grade.answer_named_at is not None and grade.answer_named_at < within_chars else 0.0


def short_cot_penalty(grade: Grade, least_chars: float = 200) -> float:
    """-1 for no think block or one of fewer than `least_chars` characters (suggested in the paper, section 4.2.2)."""
    return -1.0 if grade.think_chars < least_chars else 0.0


def structure_penalty(grade: Grade, most_chars: float = 0) -> float:
    """-1 for more than `most_chars` characters before `<think>` (paper, stage 5); all count if there is no tag."""
    return -1.0 if grade.chars_before_think > most_chars else 0.0


def graded(grade: KindGrade, half_within: float = 0.1, quarter_within: float = 0.25) -> float:
    """The paper's reward, with 0.5 and 0.25 for a wrong number within these relative errors (ours)."""
    if not grade.valid_format:
        return -1.0
    if grade.correct:
        return 1.0
    if grade.relative_error is None:
        return 0.0
    return 0.5 if grade.relative_error <= half_within else 0.25 if grade.relative_error <= quarter_within else 0.0


REWARDS: dict[str, Callable[..., float]] = {
    "paper": paper,
    "binary": binary,
    "wrong_penalty": wrong_penalty,
    "strict": strict,
    "format_only": format_only,
    "leak_penalty": leak_penalty,
    "short_cot_penalty": short_cot_penalty,
    "structure_penalty": structure_penalty,
}
NUMBER_REWARDS: dict[str, Callable[..., float]] = {"graded": graded}
"""Further terms, for questions whose answer is a number."""

DRAWN_REWARDS: dict[str, Callable[..., float]] = {"random": random}
"""Further terms, which need a draw from 0 to 1 for each response. They exist only in training with medrlvr."""

WITHOUT_SIGNAL = {"format_only", "random"}
"""Terms that are equal for all letters."""

NEEDED_KIND: dict[str, Kind] = {"leak_penalty": "letter", "graded": "number"}
"""Terms that exist for one kind of question only. `leak_penalty` compares the think block with the options."""

PENALTIES = {"leak_penalty", "short_cot_penalty", "structure_penalty"}
"""Terms that are never positive: with these alone, a model would learn not to answer."""

LIMIT = 10.0
"""Largest absolute reward. OpenRLHF clips larger values, so the recorded rewards would differ from those used."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A weighted sum of terms. Call it with a grade to get the reward.

    Attributes:
        terms: name -> weight and function of a grade. The name of a file has no folder and no suffix.
    """

    terms: Mapping[str, tuple[float, Callable[..., float]]]

    @property
    def is_drawn(self) -> bool:
        """Whether a term needs a draw for each response."""
        return not self.terms.keys().isdisjoint(DRAWN_REWARDS)

    def parts(self, grade: Grade, draw: float | None = None) -> dict[str, float]:
        """Return the weighted contribution of each term.

        Args:
            draw: a number from 0 to 1, independent for each response; only needed if `is_drawn`.
        """
        return {
            name: weight * checked(term(grade, draw) if name in DRAWN_REWARDS else term(grade))
            for name, (weight, term) in self.terms.items()
        }

    def __call__(self, grade: Grade, draw: float | None = None) -> float:
        """Return the sum of the parts.

        Raises:
            ValueError: the sum or a term is not a number from -`LIMIT` to `LIMIT`.
        """
        return checked(sum(self.parts(grade, draw).values()))


def checked(value: float) -> float:
    """Return a reward as a float.

    Raises:
        ValueError: the value is not a number from -`LIMIT` to `LIMIT`.
    """
    if not isinstance(value, int | float) or not abs(value) <= LIMIT:
        raise ValueError(f"a reward must be a number from {-LIMIT:g} to {LIMIT:g}, but this is {value!r}")
    return float(value)
