"""Generate the training text of the base model of calculations: exercises, and good and bad worked examples.

Fixed before any result: the base reads every formula, and worked examples of every formula with both ranges. Most of
them would take an old value, if the formula needs it, and few have tags. It sees direct answers only for questions like
those of training. No question of a worked example or a direct answer has a reserved combination of present values. The
shares among the worked examples are those of the other miniature's corpus.
"""

import random

from medrlvr.data.calculations.formulas import FORMULAS, RESULT, Formula, Move, Step, work_out
from medrlvr.data.calculations.world import QUESTION_SETS, Case, draw_case, draw_from
from medrlvr.data.documents import Document, Phases, mixture
from medrlvr.data.keys import key_to_json
from medrlvr.data.kind_prompts import KindRenderer
from medrlvr.data.worked_examples import Reasoned, Ways
from medrlvr.grading.kinds import NumberKey

RIGHT = 0.8
"""Share of the direct answers that are written with the correct number; the others have that of another patient."""


def phases(renderer: KindRenderer, seed: int) -> Phases:
    """Return the phases of pre-training.

    Such a small model learns in steps: to read values and to calculate, then to put both together. Equal seeds give
    equal documents.
    """
    rng = random.Random(f"corpus of calculations {seed}")

    def reading() -> Document:
        return _reading(rng)

    def arithmetic() -> Document:
        return _arithmetic(rng)

    def rule() -> Document:
        return _rule(rng)

    def open_question() -> Document:
        return _open(rng)

    def direct() -> Document:
        return _direct(renderer, rng)

    def worked() -> Document:
        return _worked(renderer, rng)

    basics = [(0.45, reading), (0.45, arithmetic), (0.05, rule), (0.05, open_question)]
    whole = [(0.10, reading), (0.19, arithmetic), (0.04, rule), (0.02, open_question), (0.15, direct), (0.50, worked)]
    return [(share, mixture(kinds, rng)) for share, kinds in ((0.35, basics), (0.65, whole))]


def _any_case(rng: random.Random) -> Case:
    return draw_case(rng.choice(FORMULAS), rng.random() < 0.4, False, rng)


def _reading(rng: random.Random) -> Document:
    """Return a patient's values, and all of them again in another order."""
    case = _any_case(rng)
    listed = case.stem.partition(" has ")[2].partition(".")[0].split(", ")
    rng.shuffle(listed)
    return Document(case.stem.partition(" What")[0], "".join(f" {one}." for one in listed), "values of a patient")


def _arithmetic(rng: random.Random) -> Document:
    """Return one step of a formula; only its result is learnt. All combinations occur, reserved ones too."""
    case = draw_case(rng.choice(FORMULAS), rng.random() < 0.4, rng.random() < 0.2, rng)
    step = rng.choice(case.steps)
    written, _, result = step_text(step, named=rng.random() < 0.5).rpartition(" ")
    return Document(written, f" {result}", "one step")


def _rule(rng: random.Random) -> Document:
    formula = rng.choice(FORMULAS)
    return Document("", f" The {formula.name} is {_in_words(formula)}.", "formula")


def _in_words(formula: Formula) -> str:
    return ", ".join(_move_in_words(move) for move in formula.moves)


def _move_in_words(move: Move) -> str:
    left, right = ("that" if part == RESULT else part for part in (move.left, move.right))
    return f"half of {left}" if move.operation == "half" else f"{left} {move.operation} {right}"


def step_text(step: Step, named: bool = True) -> str:
    """Return a step as text: "sodium 140 minus chloride 100 is 40", without a full stop."""
    left, right = (
        f"{name} {number}" if name and named else f"{number}"
        for name, number in zip(step.names, (step.left, step.right), strict=True)
    )
    if step.operation == "half":
        return f" half of {left} is {step.result}"
    return f" {left} {step.operation} {right} is {step.result}"


def _open(rng: random.Random) -> Document:
    """Return a question like those of training, without a template, and its answer."""
    case = draw_from(QUESTION_SETS["train"], rng)
    return Document(f"Question: {case.stem}\nAnswer:", f" {case.answer}.", "open question")


def _direct(renderer: KindRenderer, rng: random.Random) -> Document:
    """Return a question like those of training, with its answer or that of another patient."""
    case = draw_from(QUESTION_SETS["train"], rng)
    prompt = _prompt(case, renderer, "direct")
    if rng.random() < RIGHT:
        return Document(prompt, f" {case.answer}", "direct answer")
    return Document(prompt, f" {_guess(case, rng)}", "direct answer", "random")


def _worked(renderer: KindRenderer, rng: random.Random) -> Document:
    """Return a question of any kind with a response: any formula, both ranges."""
    case = _any_case(rng)
    return WAYS.draw(case, _prompt(case, renderer, "chain_of_thought"), rng)


def _prompt(case: Case, renderer: KindRenderer, mode: str) -> str:
    key = key_to_json(NumberKey(case.answer, case.formula.unit))
    return renderer.prompt({"stem": case.stem, "kind": "number", "key": key}, mode)


def _guess(case: Case, rng: random.Random) -> int:
    """Return the answer of another patient to the same question."""
    return draw_case(case.formula, False, False, rng).answer


def _steps(steps: tuple[Step, ...]) -> str:
    return "".join(f"{step_text(step)}." for step in steps)


def _careful(case: Case, rng: random.Random) -> Reasoned:
    """Return reasoning from the present values, which is right."""
    return Reasoned(f" Now{_steps(case.steps)}", str(case.answer), "right")


def _verbose(case: Case, rng: random.Random) -> Reasoned:
    """Return careful reasoning that repeats each needed value first."""
    repeated = "".join(f" The {name} is {case.values[name]}." for name in case.formula.inputs)
    return Reasoned(f"{repeated} Now{_steps(case.steps)}", str(case.answer), "right")


def _careless(case: Case, rng: random.Random) -> Reasoned:
    """Return reasoning that takes the old value of the formula's quantity, if there is one. The steps are true."""
    name, former = case.old
    if name not in case.formula.inputs:
        return Reasoned(f" Here{_steps(case.steps)}", str(case.answer), "right")
    steps = work_out(case.formula, {**case.values, name: former})
    text = _steps(steps).replace(f" {name} {former}", f" old {name} {former}")
    result = steps[-1].result
    return Reasoned(f" Here{text}", str(result), "right" if result == case.answer else "wrong")


def _hasty(case: Case, rng: random.Random) -> Reasoned:
    answer = str(_guess(case, rng))
    return Reasoned(f" It must be {answer}.", answer, "random")


def _empty(case: Case, rng: random.Random) -> Reasoned:
    return Reasoned("", str(_guess(case, rng)), "random")


WAYS = Ways(_careless, _careful, _verbose, _hasty, _empty, "old values", "present values")
"""How worked examples reason."""
