"""The base model of calculations: its tokenizer and its pre-training."""

from itertools import chain, islice
from pathlib import Path

from transformers import Qwen2Tokenizer

from medrlvr.data.calculations.corpus import phases
from medrlvr.data.calculations.formulas import FORMULAS
from medrlvr.data.documents import Phases
from medrlvr.data.keys import key_to_json
from medrlvr.data.kind_prompts import KindRenderer
from medrlvr.data.pretraining import pretrain, train_tokenizer
from medrlvr.grading.kinds import NumberKey
from medrlvr.runtime.step_log import Notify

VOCABULARY = 800
"""Large enough that every word is one token."""
NUMBERS = 500
"""Numbers below this are one token each."""


def tokenizer_of(renderer: KindRenderer, streams: Phases) -> Qwen2Tokenizer:
    """Train the tokenizer.

    Each number is one token, because such a small model does not learn to calculate with digits (docs/log.md). Each
    line of the templates is one token too.
    """
    documents = [*islice(streams[-1][1], 10_000)]
    texts = chain.from_iterable((document.prompt, document.text) for document in documents)
    numbers = [f" {number}" for number in range(NUMBERS)]
    return train_tokenizer(texts, VOCABULARY, [*numbers, *_fixed_lines(renderer)])


def _fixed_lines(renderer: KindRenderer) -> list[str]:
    """Return the lines that are in the prompt of every question with one of the units."""
    questions = [
        {"stem": "?", "kind": "number", "key": key_to_json(NumberKey(0, unit))}
        for unit in dict.fromkeys(formula.unit for formula in FORMULAS)
    ]
    prompts = [renderer.prompt(question, mode) for question in questions for mode in renderer.modes]
    lines = dict.fromkeys(line for prompt in prompts for line in prompt.splitlines())
    return [line for line in lines if len(line.split()) > 3]


def pretrain_base(
    output: Path, renderer: KindRenderer, steps: int, seed: int, threads: int, notify: Notify
) -> list[float]:
    """Train tokenizer and model and write both to `output`.

    Args:
        renderer: the templates for prompts.
        output, steps, seed, threads, notify: as for `pretraining.pretrain`.

    Returns:
        The loss of every step, in nats per token.
    """
    tokenizer = tokenizer_of(renderer, phases(renderer, seed))
    return pretrain(output, tokenizer, phases(renderer, seed), steps, seed, threads, notify, {})
