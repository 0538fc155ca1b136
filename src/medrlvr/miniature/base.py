"""The miniature's base model: a Qwen2 of about one million parameters, trained on text of the world."""

import json
import math
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer

from medrlvr.miniature.corpus import Document, documents
from medrlvr.prompts import Renderer

END = "<|endoftext|>"
VOCABULARY = 1600
"""Large enough that every fact's word is one token; the test of it names any that is not."""
BATCH = 64
PEAK_LEARNING_RATE = 2e-3


def train_tokenizer(renderer: Renderer, seed: int) -> Qwen2Tokenizer:
    """Train a byte-level BPE with Qwen2's own rules of splitting.

    A checkpoint of type qwen2 is always read back as Qwen2Tokenizer with its own splitting, whatever was saved, so that
    splitting is what the merges are learnt on.
    """
    trainable = Tokenizer(BPE())
    trainable.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    trainer = BpeTrainer(
        vocab_size=VOCABULARY, initial_alphabet=ByteLevel.alphabet(), special_tokens=[END], show_progress=False
    )
    sample = islice(documents(renderer, seed), 20_000)
    trainable.train_from_iterator((part for document in sample for part in (document.prompt, document.text)), trainer)
    learnt = json.loads(trainable.to_str())["model"]
    tokenizer = Qwen2Tokenizer(vocab=learnt["vocab"], merges=[tuple(merge) for merge in learnt["merges"]])
    # The templates' fixed sentences are one token each. They are most of a prompt, the same in every prompt, and nothing
    # in the world is to be learnt from their words: as one token they halve the time of all that is computed.
    sentences = [line for line in renderer.fixed_lines() if len(line.split()) > 3]
    tokenizer.add_tokens([AddedToken(line, special=False, normalized=False) for line in sentences])
    return tokenizer


def new_model(vocabulary: int, seed: int) -> Qwen2ForCausalLM:
    """Return an untrained model; heads of 32 because vLLM's CPU attention takes no smaller ones."""
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=vocabulary,
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def pretrain(
    output: Path, renderer: Renderer, steps: int, seed: int, threads: int, say: Callable[[str], None]
) -> list[float]:
    """Train tokenizer and model and write both to `output`, weights in bfloat16.

    Args:
        output: folder; it appears when everything in it is complete.
        steps: of 64 documents each; the loss is on each document's text, not on its prompt.
        threads: of torch. Another number may round differently and so give another model.
        say: called with a line of progress now and then.

    Returns:
        The loss of every step, in nats per token.
    """
    torch.set_num_threads(threads)
    tokenizer = train_tokenizer(renderer, seed)
    model = new_model(len(tokenizer), seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.05)
    batches = _batches(tokenizer, documents(renderer, seed), seed)
    losses: list[float] = []
    began = time.monotonic()
    for step in range(1, steps + 1):
        ids, labels = next(batches)
        loss = _loss(model, ids, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 100 == 0 or step == steps:
            left = (time.monotonic() - began) / step * (steps - step)
            mean = math.fsum(losses[-100:]) / len(losses[-100:])
            say(f"base model: step {step} of {steps}, loss {mean:.3f}, {left / 60:.1f} minutes left")
    temporary = output.with_name(f".{output.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(output, ignore_errors=True)
    temporary.rename(output)
    return losses


def _loss(model: Qwen2ForCausalLM, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of the labelled tokens; logits are computed for these alone, a third of all."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    learnt = targets != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), targets[learnt])


def _batches(
    tokenizer: Qwen2Tokenizer, stream: Iterator[Document], seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches without end, each of documents alike in length: without that half of a batch is padding."""
    rng = random.Random(f"batches {seed}")
    while True:
        pool = sorted(islice(stream, 8 * BATCH), key=lambda document: len(document.prompt) + len(document.text))
        batches = [pool[start : start + BATCH] for start in range(0, len(pool), BATCH)]
        rng.shuffle(batches)
        yield from (_batch(tokenizer, batch) for batch in batches)


def _batch(tokenizer: Qwen2Tokenizer, batch: Sequence[Document]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and labels, both (BATCH, longest), padded on the right; -100 marks what is not learnt."""
    prompts = tokenizer([document.prompt for document in batch])["input_ids"]
    texts = tokenizer([f"{document.text}{END}" for document in batch])["input_ids"]
    longest = max(len(prompt) + len(text) for prompt, text in zip(prompts, texts, strict=True))
    ids = torch.full((len(batch), longest), tokenizer.eos_token_id)
    labels = torch.full((len(batch), longest), -100)
    for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        ids[row, : len(prompt) + len(text)] = torch.tensor(prompt + text)
        labels[row, len(prompt) : len(prompt) + len(text)] = torch.tensor(text)
    return ids, labels
