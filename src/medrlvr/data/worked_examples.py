"""Worked examples in the training text of a small base model: how they reason, how they are written, and how often.

Both miniatures use the same shares. Most examples take a shortcut and few have tags, so a base learns the shortcut, and
seldom writes the required format.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from medrlvr.data.documents import Document, Outcome

Question = TypeVar("Question")

TAGGED = 0.2
"""Share of the worked examples that have tags."""


@dataclass(frozen=True, slots=True)
class Reasoned:
    """Steps of reasoning, the answer that they argue for, and whether they are right."""

    steps: str
    answer: str
    outcome: Outcome


Reason = Callable[[Question, random.Random], Reasoned]


class Style(NamedTuple, Generic[Question]):
    """How a worked example reasons, how it is written, its name, and its share."""

    reason: Reason[Question]
    write: Callable[[Reasoned], str]
    name: str
    share: float


@dataclass(frozen=True)
class Ways(Generic[Question]):
    """The ways to reason about a question of one miniature.

    Attributes:
        careless: takes the shortcut.
        careful: uses everything that the question gives; always right.
        verbose: careful, but repeats what the question gives first.
        hasty: names a random answer in a sentence.
        empty: no reasoning, and a random answer.
        careless_name, careful_name: what these use, for the names of the styles.
    """

    careless: Reason[Question]
    careful: Reason[Question]
    verbose: Reason[Question]
    hasty: Reason[Question]
    empty: Reason[Question]
    careless_name: str
    careful_name: str

    def untagged(self) -> list[Style[Question]]:
        """Return the styles without tags. Their shares add up to 1."""
        return [
            Style(self.careless, untagged, self.careless_name, 0.52),
            Style(self.careful, untagged, self.careful_name, 0.20),
            Style(self.verbose, untagged, f"{self.careful_name}, verbose", 0.08),
            Style(self.hasty, untagged, "no reasoning", 0.20),
        ]

    def tagged(self) -> list[Style[Question]]:
        """Return the styles with tags. Their shares add up to 1."""
        return [
            Style(self.careless, tagged, f"tagged: {self.careless_name}", 0.33),
            Style(self.careful, tagged, f"tagged: {self.careful_name}", 0.15),
            Style(self.verbose, tagged, f"tagged: {self.careful_name}, verbose", 0.08),
            Style(self.hasty, tagged, "tagged: no reasoning", 0.17),
            Style(self.empty, tagged, "tagged: empty", 0.12),
            Style(self.careful, before_the_tags, "tagged: reasoning before the tags", 0.05),
            Style(self.careful, without_answer, "tagged: no answer", 0.10),
        ]

    def draw(self, question: Question, prompt: str, rng: random.Random) -> Document:
        """Return a worked example of a question, in a style that is drawn by the shares."""
        styles = self.tagged() if rng.random() < TAGGED else self.untagged()
        style = rng.choices(styles, [one.share for one in styles])[0]
        reasoned = style.reason(question, rng)
        return Document(prompt, style.write(reasoned), style.name, reasoned.outcome)


def untagged(reasoned: Reasoned) -> str:
    """Write the reasoning and the answer as sentences."""
    return f"{reasoned.steps} Answer: {reasoned.answer}."


def tagged(reasoned: Reasoned) -> str:
    """Write the reasoning and the answer in their blocks."""
    return f" <think>{reasoned.steps} </think> <answer> {reasoned.answer} </answer>"


def before_the_tags(reasoned: Reasoned) -> str:
    """Write the reasoning before the think block, which contains the answer alone."""
    return f"{reasoned.steps} <think> {reasoned.answer} </think> <answer> {reasoned.answer} </answer>"


def without_answer(reasoned: Reasoned) -> str:
    """Write a think block without an answer block."""
    return f" <think>{reasoned.steps} </think>"
