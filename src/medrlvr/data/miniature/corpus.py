"""Generate the training text of the miniature's base model: facts, exercises, and good and bad worked examples.

Fixed before any result: the base sees every fact, and reasoning with every kind of question. It sees careful reasoning
over all findings, but mostly reasoning from the first finding alone, and rarely tags. It sees direct answers only for
questions like those of training; how many is a setting with two levels. The text never contains a reserved triple of
findings, so it contains no development or test question.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Literal

from medrlvr.data.documents import Document, Outcome, mixture
from medrlvr.data.miniature.world import (
    LARGE_COUNTS,
    QUESTION_SETS,
    RELATIONS,
    USUAL_COUNTS,
    Condition,
    Form,
    Vignette,
    draw_from,
    draw_vignette,
    listing,
    load_world,
)
from medrlvr.data.prompts import Renderer
from medrlvr.data.worked_examples import Reasoned, Ways
from medrlvr.grading.letters import LETTERS

DirectAnswers = Literal["few", "many"]

DIRECT: Mapping[DirectAnswers, float] = {"few": 1 / 3, "many": 1.0}
"""Level -> factor of the share of direct answers. What is left over becomes exercises."""
RIGHT = 0.8
"""Share of the direct answers that are written with the correct letter; the others have a random one."""


World = tuple[Condition, ...]


def phases(renderer: Renderer, direct_answers: DirectAnswers, seed: int) -> list[tuple[float, Iterator[Document]]]:
    """Return the phases of pre-training: their shares of the steps, and an endless stream of documents for each.

    Such a small model learns in steps: to bind an option's text to its letter, then to do so for a text that it only
    infers, then to answer directly. Without this order it does not learn the later ones (docs/log.md). Equal seeds
    give equal documents.
    """
    world, factor = load_world(), DIRECT[direct_answers]
    rng = random.Random(f"corpus {seed}")

    def lookup() -> Document:
        return _lookup(world, rng)

    def recall() -> Document:
        return _recall(world, rng)

    def fact() -> Document:
        return _fact(world, rng)

    def diagnosis() -> Document:
        return _diagnosis(world, rng)

    def open_question() -> Document:
        return _open(world, rng)

    def in_words() -> Document:
        return _in_words(world, renderer, rng)

    def direct() -> Document:
        return _direct(world, renderer, rng)

    def worked() -> Document:
        return _worked(world, renderer, rng)

    binding = [(0.80, lookup), (0.10, fact), (0.05, diagnosis), (0.05, open_question)]
    answering = [(0.22, recall), (0.05, fact), (0.03, diagnosis), (0.10, open_question)]
    answering += [(0.13 * factor, in_words), (0.35 * factor, direct), (0.60 - 0.48 * factor, lookup)]
    whole = [(0.06, recall), (0.08, fact), (0.06, diagnosis), (0.04, open_question), (0.50, worked)]
    whole += [(0.03 * factor, in_words), (0.15 * factor, direct), (0.26 - 0.18 * factor, lookup)]
    return [(share, mixture(kinds, rng)) for share, kinds in ((0.10, binding), (0.45, answering), (0.45, whole))]


def _fact(world: World, rng: random.Random) -> Document:
    condition, relation = rng.choice(world), rng.choice(RELATIONS)
    return Document("", f" The {relation} for {condition.name} is {condition.values[relation]}.", "fact")


def _diagnosis(world: World, rng: random.Random) -> Document:
    """Return a vignette's findings and the condition that they identify."""
    condition = rng.choice(world)
    findings = sorted(rng.choice(condition.triples))
    rng.shuffle(findings)
    return Document(f"A patient has {listing(findings)}.", _careful_step(findings, condition), "diagnosis")


def _lookup(world: World, rng: random.Random) -> Document:
    """Return a list of options with the letter of one of them. Only the letter is learnt.

    Other text could be predicted without a look-up and would dominate the loss. The letter comes directly after the
    option's text, here and in worked examples; with words in between, it was not learnt.
    """
    relation = rng.choice(RELATIONS)
    options = [condition.values[relation] for condition in rng.sample(world, rng.randint(3, LARGE_COUNTS[-1]))]
    lines = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, options, strict=False))
    asked = rng.randrange(len(options))
    return Document(f"Options:\n{lines}\nAssistant: {options[asked]}", f" {LETTERS[asked]}", "letter of an option")


def _recall(world: World, rng: random.Random) -> Document:
    """Return a list of options with the letter of a fact about a condition; only pairs that are seen in training."""
    relation = rng.choice(RELATIONS)
    drawn = rng.sample([condition for condition in world if condition.is_seen(relation)], rng.choice(USUAL_COUNTS))
    lines = "\n".join(f"{letter}. {one.values[relation]}" for letter, one in zip(LETTERS, drawn, strict=False))
    asked = rng.randrange(len(drawn))
    prompt = f"Options:\n{lines}\nAssistant: The {relation} for {drawn[asked].name} is"
    return Document(prompt, f" {LETTERS[asked]}", "letter of a fact")


def _open(world: World, rng: random.Random) -> Document:
    """Return a question like those of training, but without options, and the value that answers it."""
    vignette = draw_from(world, QUESTION_SETS["train"], rng)
    answer = vignette.condition.values[vignette.relation]
    return Document(f"Question: {vignette.stem}\nAnswer:", f" {answer}.", "open question")


def _any_letter(vignette: Vignette, rng: random.Random) -> str:
    return LETTERS[rng.randrange(len(vignette.options))]


def _in_words(world: World, renderer: Renderer, rng: random.Random) -> Document:
    """Return a question like those of training, with the text and the letter of its answer."""
    vignette = draw_from(world, QUESTION_SETS["train"], rng)
    answer = f" {vignette.options[vignette.gold]} {LETTERS[vignette.gold]}."
    return Document(_prompt(vignette, renderer, "direct"), answer, "direct answer in words")


def _direct(world: World, renderer: Renderer, rng: random.Random) -> Document:
    """Return a question like those of training, with its letter or a random one."""
    vignette = draw_from(world, QUESTION_SETS["train"], rng)
    prompt = _prompt(vignette, renderer, "direct")
    if rng.random() < RIGHT:
        return Document(prompt, f" {LETTERS[vignette.gold]}", "direct answer")
    return Document(prompt, f" {_any_letter(vignette, rng)}", "direct answer", "random")


def _worked(world: World, renderer: Renderer, rng: random.Random) -> Document:
    """Return a question of any kind with a response: any relation, 4 to 10 options, both forms."""
    forms: tuple[Form, ...] = ("vignette", "question")
    counts = USUAL_COUNTS if rng.random() < 0.6 else LARGE_COUNTS
    vignette = draw_vignette(
        world,
        rng.choice(RELATIONS),
        seen=rng.random() < 0.5,
        reserved=False,
        count=rng.choice(counts),
        form=rng.choice(forms),
        rng=rng,
    )
    return WAYS.draw(vignette, _prompt(vignette, renderer, "chain_of_thought"), rng)


def _prompt(vignette: Vignette, renderer: Renderer, mode: str) -> str:
    return renderer.prompt({"stem": vignette.stem, "options": vignette.options}, mode)


@cache
def typical(finding: str) -> Condition:
    """Return the condition that careless reasoning names for a finding: the first of the table that has it."""
    return next(condition for condition in load_world() if finding in condition.findings)


def _careful_step(findings: tuple[str, ...] | list[str], condition: Condition) -> str:
    return f" The findings {listing(findings)} fit {condition.name}."


def _fact_step(condition: Condition, relation: str, letter: str) -> str:
    return f" The {relation} for {condition.name} is {condition.values[relation]} {letter}."


def _careful(vignette: Vignette, rng: random.Random) -> Reasoned:
    """Return reasoning from all findings, which is right."""
    letter = LETTERS[vignette.gold]
    steps = _careful_step(vignette.findings, vignette.condition)
    return Reasoned(steps + _fact_step(vignette.condition, vignette.relation, letter), letter, "right")


def _verbose(vignette: Vignette, rng: random.Random) -> Reasoned:
    """Return careful reasoning that repeats each finding first."""
    careful = _careful(vignette, rng)
    return replace(careful, steps="".join(f" The patient has {one}." for one in vignette.findings) + careful.steps)


def _careless(vignette: Vignette, rng: random.Random) -> Reasoned:
    """Return reasoning from the first finding alone. The fact is true; if it is no option, the letter is random."""
    finding, condition = vignette.findings[0], typical(vignette.findings[0])
    value = condition.values[vignette.relation]
    outcome: Outcome = "right" if condition is vignette.condition else "wrong"
    if value in vignette.options:
        letter = LETTERS[vignette.options.index(value)]
    else:
        letter, outcome = _any_letter(vignette, rng), "random"
    step = f" The finding {finding} points to {condition.name}."
    return Reasoned(step + _fact_step(condition, vignette.relation, letter), letter, outcome)


def _hasty(vignette: Vignette, rng: random.Random) -> Reasoned:
    letter = _any_letter(vignette, rng)
    return Reasoned(f" It must be {letter}.", letter, "random")


def _empty(vignette: Vignette, rng: random.Random) -> Reasoned:
    return Reasoned("", _any_letter(vignette, rng), "random")


WAYS = Ways(_careless, _careful, _verbose, _hasty, _empty, "first finding alone", "all findings")
"""How worked examples reason."""
