"""The miniature's base model: its tokenizer and its pre-training on text about the world."""

from itertools import chain, islice
from pathlib import Path

from transformers import Qwen2Tokenizer

from medrlvr.data.miniature.corpus import DirectAnswers, phases
from medrlvr.data.pretraining import pretrain, train_tokenizer
from medrlvr.data.prompts import Renderer
from medrlvr.grading.letters import LETTERS
from medrlvr.runtime.step_log import Notify

VOCABULARY = 2400
"""Large enough that every word of a fact is one token (2,104 are used); the test lists any word that is not."""


def tokenizer_of(renderer: Renderer, seed: int) -> Qwen2Tokenizer:
    """Train the tokenizer.

    Each fixed sentence of the templates is one token. These sentences are most of a prompt and the same in every
    prompt, and the model need not learn their words; as single tokens they halve the computing time. Each letter that
    starts an option is also one token, next to the option's text, so that the model can learn to bind the two.
    """
    _, whole = phases(renderer, "many", seed)[-1]
    texts = (part for document in islice(whole, 20_000) for part in (document.prompt, document.text))
    sentences = [line for line in renderer.fixed_lines() if len(line.split()) > 3]
    pieces = sentences + [f"\n{letter}." for letter in LETTERS]
    return train_tokenizer(chain(texts, (f" {letter}" for letter in LETTERS)), VOCABULARY, pieces)


def pretrain_base(
    output: Path,
    renderer: Renderer,
    direct_answers: DirectAnswers,
    steps: int,
    seed: int,
    threads: int,
    notify: Notify,
) -> list[float]:
    """Train tokenizer and model and write both to `output`.

    Args:
        renderer: the templates for prompts.
        direct_answers: how many direct answers the text contains.
        output, steps, seed, threads, notify: as for `pretraining.pretrain`.

    Returns:
        The loss of every step, in nats per token.
    """
    tokenizer, streams = tokenizer_of(renderer, seed), phases(renderer, direct_answers, seed)
    return pretrain(output, tokenizer, streams, steps, seed, threads, notify, {"direct_answers": direct_answers})
