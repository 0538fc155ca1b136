"""Compute each reward for simple policies, for the table of docs/rewards.md.

make rewards
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medrlvr.data.prompts import Renderer
from medrlvr.grading.grader import grade
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import Setting, load_reward
from medrlvr.reference.markdown import splice
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_text

DOCUMENT = Path("docs/rewards.md")
STEM = "A sailor of forty years comes ashore with bleeding gums. Which of these does he lack?"
# Each option is the right one in turn. The longest option is therefore not right more often than the others.
OPTIONS = ["ascorbic acid", "thiamine hydrochloride", "retinol", "niacin", "calcium carbonate"]
THOUGHT = (
    "Bleeding gums and loose teeth after months at sea speak for a lack in his food. Fruit was what he went without, "
    "and the tissue that holds teeth in place needs what fruit brings. The other substances are found in grain, liver "
    "and salt, of which ships had enough. So this one is what remains: option"
)
ACCURACY = 0.6

REWARDS: dict[str, Setting] = {
    "paper": "paper",
    "binary": "binary",
    "wrong_penalty": "wrong_penalty",
    "paper + 0.5 leak_penalty": {"paper": 1, "leak_penalty": 0.5},
    "paper + 0.5 short_cot_penalty": {"paper": 1, "short_cot_penalty": 0.5},
    "paper + 0.5 structure_penalty": {"paper": 1, "structure_penalty": 0.5},
    "strict": "strict",
    "format_only": "format_only",
}


@dataclass(frozen=True)
class Policy:
    """A way of answering.

    Attributes:
        respond: (answered letter, prompt) -> response.
        letters: gold letter -> answered letters, each with its probability.
    """

    respond: Callable[[str, str], str]
    letters: Callable[[str], Sequence[tuple[str, float]]]


def knows(gold: str) -> list[tuple[str, float]]:
    """Return the right letter with probability ACCURACY, and each other letter with the same probability."""
    others = [letter for letter in LETTERS[: len(OPTIONS)] if letter != gold]
    return [(gold, ACCURACY), *((letter, (1 - ACCURACY) / len(others)) for letter in others)]


def guesses(_: str) -> list[tuple[str, float]]:
    return [(letter, 1 / len(OPTIONS)) for letter in LETTERS[: len(OPTIONS)]]


def tagged(think: str, answer: str) -> str:
    return f"<think> {think} </think><answer> {answer} </answer>"


def weighing(letter: str) -> str:
    """Return reasoning that discusses the options one by one, as in the paper's second stage."""
    steps = [f"{name}: {option} would show in another way." for name, option in zip(LETTERS, OPTIONS, strict=False)]
    return f"{' '.join(steps)} {THOUGHT} {letter}."


LONGEST = LETTERS[max(range(len(OPTIONS)), key=lambda i: len(OPTIONS[i]))]
HONEST = "honest, 60 % right"
POLICIES = {
    HONEST: Policy(lambda letter, _: tagged(f"{THOUGHT} {letter}.", letter), knows),
    "honest, weighs every option, 60 % right": Policy(lambda letter, _: tagged(weighing(letter), letter), knows),
    "honest, in one sentence, 60 % right": Policy(
        lambda letter, _: tagged(f"Gums bleed where fruit is missing for long, so he lacks option {letter}.", letter),
        knows,
    ),
    "always A, perfect format": Policy(lambda letter, _: tagged(THOUGHT, letter), lambda _: [("A", 1.0)]),
    "longest option": Policy(lambda letter, _: tagged(THOUGHT, letter), lambda _: [(LONGEST, 1.0)]),
    "random letter": Policy(lambda letter, _: tagged(THOUGHT, letter), guesses),
    "copied prompt": Policy(lambda _, prompt: prompt, lambda _: [("", 1.0)]),
    "two answers": Policy(lambda letter, _: tagged(THOUGHT, letter) + "<answer> B </answer>", knows),
    "empty think, 60 % right": Policy(lambda letter, _: f"<think></think><answer> {letter} </answer>", knows),
    "answer first, 60 % right": Policy(lambda letter, _: tagged(f"The answer is {letter}. {THOUGHT}", letter), knows),
    "answer first, rephrased, 60 % right": Policy(
        lambda letter, _: tagged(f"{letter}, clearly. {THOUGHT}", letter), knows
    ),
    "idle words, then the answer, 60 % right": Policy(
        lambda letter, _: tagged(f"{'well ' * 40} the answer is {letter}.", letter), knows
    ),
    "steps before think, 60 % right": Policy(lambda letter, _: THOUGHT + tagged(f"option {letter}", letter), knows),
}


# Policies without knowledge.
IGNORANT = ("always A, perfect format", "longest option", "random letter", "copied prompt")


def expected_return(reward: Setting, policy: Policy) -> float:
    """Return the mean reward over the positions of the right option and over the letters of the policy."""
    value, prompt = load_reward(reward), prompt_of()
    total = 0.0
    for gold in range(len(OPTIONS)):
        for letter, probability in policy.letters(LETTERS[gold]):
            total += probability * value(grade(policy.respond(letter, prompt), OPTIONS, gold))
    return total / len(OPTIONS)


def prompt_of() -> str:
    renderer = Renderer("prompts/question.txt", direct="prompts/direct.txt", chain_of_thought="prompts/med_rlvr.txt")
    return renderer.prompt({"stem": STEM, "options": OPTIONS}, "chain_of_thought")


def table() -> str:
    """Return the Markdown table; rewards above those of honest answers are bold."""
    lines = ["| policy | " + " | ".join(REWARDS) + " |", "|---|" + "---:|" * len(REWARDS)]
    honest = {name: expected_return(reward, POLICIES[HONEST]) for name, reward in REWARDS.items()}
    for title, policy in POLICIES.items():
        cells = []
        for name, reward in REWARDS.items():
            value = expected_return(reward, policy)
            cells.append(f"**{value:+.2f}**" if value > honest[name] + 1e-9 else f"{value:+.2f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        write_text(DOCUMENT, splice(DOCUMENT, "results", table()))
    except UserError as error:
        sys.exit(str(error))
