"""Generate the training text of the miniature's base model: facts, and good and bad worked examples.

Fixed before any result: the base sees every fact, and reasoning from findings to condition, fact and letter, mostly
without tags. It sees few direct answers, most of them random, and almost none about held-out relations. The text never
contains a reserved triple of findings, so it contains no development or test question.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from medrlvr.data.miniature.world import RELATIONS, Condition, Vignette, draw_vignette, load_world
from medrlvr.data.prompts import Renderer
from medrlvr.grading.letters import LETTERS


@dataclass(frozen=True, slots=True)
class Document:
    """A prompt, empty for plain text, and the text to learn; the trainer adds the end-of-text token."""

    prompt: str
    text: str


def elementary_documents(seed: int) -> Iterator[Document]:
    """Yield facts and exercises endlessly, for the first part of training.

    Such a small model learns to bind an option's text to its letter last and suddenly, so the exercises come first.
    """
    rng = random.Random(f"elementary {seed}")
    world = load_world()
    yield from _mixture(
        [
            (0.70, lambda: _lookup(world, rng)),
            (0.15, lambda: _diagnosis(world, rng)),
            (0.15, lambda: _fact(world, rng)),
        ],
        rng,
    )


def documents(renderer: Renderer, seed: int) -> Iterator[Document]:
    """Yield the whole mixture endlessly; equal seeds give equal documents."""
    rng = random.Random(f"corpus {seed}")
    world = load_world()
    yield from _mixture(
        [
            (0.10, lambda: _fact(world, rng)),
            (0.10, lambda: _diagnosis(world, rng)),
            (0.15, lambda: _lookup(world, rng)),
            (0.05, lambda: _direct(world, renderer, rng)),
            (0.60, lambda: _worked(world, renderer, rng)),
        ],
        rng,
    )


def _mixture(kinds: list[tuple[float, Callable[[], Document]]], rng: random.Random) -> Iterator[Document]:
    weights = [weight for weight, _ in kinds]
    while True:
        yield rng.choices(kinds, weights)[0][1]()


def _fact(world: tuple[Condition, ...], rng: random.Random) -> Document:
    condition, relation = rng.choice(world), rng.choice(RELATIONS)
    return Document("", f" The {relation} for {condition.name} is {condition.values[relation]}.")


def _diagnosis(world: tuple[Condition, ...], rng: random.Random) -> Document:
    condition = rng.choice(world)
    findings = list(rng.choice(condition.triples(reserved=False)))
    rng.shuffle(findings)
    return Document(
        f"A patient has {findings[0]}, {findings[1]} and {findings[2]}.", f" The findings fit {condition.name}."
    )


def _lookup(world: tuple[Condition, ...], rng: random.Random) -> Document:
    """Return a list of options with the letter of one of them. Only the letter is learnt.

    Other text could be predicted without a look-up and would dominate the loss. The letter comes directly after the
    option's text, here and in worked examples; with words in between, it was not learnt.
    """
    relation = rng.choice(RELATIONS)
    options = [condition.values[relation] for condition in rng.sample(world, rng.choice((3, 4, 5)))]
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
    asked = rng.randrange(len(options))
    return Document(f"Options:\n{lines}\nAssistant: {options[asked]}", f" {LETTERS[asked]}")


def _draw(world: tuple[Condition, ...], relations: str, rng: random.Random) -> Vignette:
    condition = rng.choice(world)
    pool = {"seen": condition.seen, "any": RELATIONS}[relations]
    return draw_vignette(world, condition, rng.choice(pool), reserved=False, rng=rng)


def _any_letter(vignette: Vignette, rng: random.Random) -> str:
    return LETTERS[rng.randrange(len(vignette.options))]


def _direct(world: tuple[Condition, ...], renderer: Renderer, rng: random.Random) -> Document:
    vignette = _draw(world, "seen" if rng.random() < 0.95 else "any", rng)
    letter = LETTERS[vignette.gold] if rng.random() < 0.4 else _any_letter(vignette, rng)
    return Document(_prompt(vignette, renderer, "direct"), f" {letter}")


def _worked(world: tuple[Condition, ...], renderer: Renderer, rng: random.Random) -> Document:
    vignette = _draw(world, "any", rng)
    styles = _TAGGED if rng.random() < 0.2 else _UNTAGGED
    style = rng.choices([style for style, _ in styles], [weight for _, weight in styles])[0]
    return Document(_prompt(vignette, renderer, "chain_of_thought"), style(world, vignette, rng))


def _prompt(vignette: Vignette, renderer: Renderer, mode: str) -> str:
    return renderer.prompt({"stem": vignette.stem, "options": vignette.options}, mode)


def _steps(condition: Condition, relation: str, letter: str) -> str:
    value = condition.values[relation]
    return f" The findings fit {condition.name}. The {relation} for {condition.name} is {value} {letter}."


def _concise(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> tuple[str, str]:
    letter = LETTERS[vignette.gold]
    return _steps(vignette.condition, vignette.relation, letter), letter


def _verbose(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> tuple[str, str]:
    letter = LETTERS[vignette.gold]
    name = vignette.condition.name
    walk = "".join(f" {finding} points to {name}." for finding in vignette.findings[:2])
    return walk + _steps(vignette.condition, vignette.relation, letter), letter


def _sloppy(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> tuple[str, str]:
    """Return reasoning with a random condition, its fact and a random letter."""
    letter = _any_letter(vignette, rng)
    return _steps(rng.choice(world), vignette.relation, letter), letter


def _hasty(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> tuple[str, str]:
    letter = _any_letter(vignette, rng)
    return f" It must be {letter}.", letter


def _empty(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> tuple[str, str]:
    return "", _any_letter(vignette, rng)


Reasoning = Callable[[tuple[Condition, ...], Vignette, random.Random], tuple[str, str]]
Style = Callable[[tuple[Condition, ...], Vignette, random.Random], str]


def _untagged(reasoning: Reasoning) -> Style:
    def style(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> str:
        reasons, letter = reasoning(world, vignette, rng)
        return f"{reasons} Answer: {letter}."

    return style


def _tagged(reasoning: Reasoning) -> Style:
    def style(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> str:
        think, letter = reasoning(world, vignette, rng)
        return f" <think>{think} </think> <answer> {letter} </answer>"

    return style


def _outside(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> str:
    think, letter = _concise(world, vignette, rng)
    return f"{think} <think> {letter} </think> <answer> {letter} </answer>"


def _unanswered(world: tuple[Condition, ...], vignette: Vignette, rng: random.Random) -> str:
    return f" <think>{_concise(world, vignette, rng)[0]} </think>"


_UNTAGGED: list[tuple[Style, float]] = [
    (_untagged(_concise), 0.40),
    (_untagged(_verbose), 0.25),
    (_untagged(_sloppy), 0.25),
    (_untagged(_hasty), 0.10),
]
_TAGGED: list[tuple[Style, float]] = [
    (_tagged(_concise), 0.22),
    (_tagged(_verbose), 0.15),
    (_tagged(_sloppy), 0.25),
    (_tagged(_hasty), 0.12),
    (_tagged(_empty), 0.12),
    (_outside, 0.05),
    (_unanswered, 0.09),
]
