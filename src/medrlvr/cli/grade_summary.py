"""Counts of graded responses, and their summary as text."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from medrlvr.grading.grader import Rule


@dataclass(slots=True)
class Summary:
    """Counts of graded responses.

    Attributes:
        rules: rule -> number of responses.
        responses: number of responses.
        correct: those whose letter is the gold letter.
        unread: those without a letter.
        valid_format: those in the required format.
        lenient_correct: those whose lenient letter is the gold letter.
        lenient_unread: those without a lenient letter.
        reward: sum of the rewards; None without a reward.
    """

    rules: Counter[str] = field(default_factory=Counter)
    responses: int = 0
    correct: int = 0
    unread: int = 0
    valid_format: int = 0
    lenient_correct: int = 0
    lenient_unread: int = 0
    reward: float | None = None

    def add(self, other: "Summary") -> None:
        """Add the counts of other responses."""
        self.rules += other.rules
        for name in ("responses", "correct", "unread", "valid_format", "lenient_correct", "lenient_unread"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.reward is not None:
            self.reward = (self.reward or 0.0) + other.reward

    def text(self, answer_format: str) -> str:
        """Return the summary as lines of text.

        Args:
            answer_format: "tagged" for responses in the required format, or "bare" for direct answers.
        """
        if not self.responses:
            return "0 responses graded."
        wrong = self.responses - self.correct - self.unread
        outcomes = {"correct": self.correct, "wrong": wrong, "unread": self.unread}
        rules = {rule: self.rules[rule] for rule in get_args(Rule) if self.rules[rule]}
        required = "required format" if answer_format == "tagged" else "letter at the start"
        accuracy = {required: self.correct, "any readable letter": self.lenient_correct}
        other = {"no readable letter": self.lenient_unread}
        if answer_format == "tagged":
            other = {"valid format": self.valid_format} | other
        blocks = [
            f"{self.responses:,} response{'s' * (self.responses > 1)} graded",
            self._table("outcome", outcomes),
            self._table("rule", rules),
            self._table("accuracy by", accuracy),
            self._table("responses with", other),
        ]
        if self.reward is not None:
            blocks.append(f"mean reward {self.reward / self.responses:+.4f}")
        return "\n\n".join(blocks)

    def _table(self, title: str, counts: Mapping[str, int]) -> str:
        lines = [title]
        for name, count in counts.items():
            lines.append(f"  {name:22}{count:>11,}{100 * count / self.responses:>8.1f} %")
        return "\n".join(lines)


def summarise(rows: Iterable[Mapping[str, Any]], *, rewarded: bool) -> Summary:
    """Return the summary of rows with the fields of `Grade`.

    Args:
        rows: the graded rows.
        rewarded: whether `reward` is the computed reward; otherwise it is a key of the input, if it exists.
    """
    summary = Summary()
    for row in rows:
        summary.rules[row["rule"]] += 1
        summary.responses += 1
        summary.correct += row["correct"]
        summary.unread += row["letter"] is None
        summary.valid_format += row["valid_format"]
        summary.lenient_correct += row["lenient_correct"]
        summary.lenient_unread += row["lenient_letter"] is None
        if rewarded:
            summary.reward = (summary.reward or 0.0) + row["reward"]
    return summary
