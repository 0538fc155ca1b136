"""Documents for pre-training a small base model from scratch."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["right", "wrong", "random"]
"""right: all steps and the answer are right; wrong: the answer follows from the steps and is wrong; random: the answer
was drawn."""


@dataclass(frozen=True, slots=True)
class Document:
    """One text of the corpus.

    Attributes:
        prompt: text without loss; empty for plain text.
        text: text to learn; the trainer adds the end-of-text token.
        kind: name of its kind.
        outcome: whether its content is right.
    """

    prompt: str
    text: str
    kind: str
    outcome: Outcome = "right"


Phases = Sequence[tuple[float, Iterator[Document]]]
"""The phases of pre-training: their shares of the steps, and an endless stream of documents for each."""


def mixture(kinds: Sequence[tuple[float, Callable[[], Document]]], rng: random.Random) -> Iterator[Document]:
    """Yield documents endlessly, each from one of the functions, drawn by their weights."""
    weights = [weight for weight, _ in kinds]
    while True:
        yield rng.choices(kinds, weights)[0][1]()
