"""Token counts, length checks, and the tokens of option letters."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from medrlvr.grading.letters import LETTERS, letter_continuation
from medrlvr.runtime.errors import UserError

PART = 4096
"""Texts that are encoded at once: the encoded texts of a batch need far more memory than the texts."""


def token_counts(base: Path, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens in each text, without special tokens, for the model in folder `base`."""
    tokenizer = _tokenizer(base)
    return [len(text) for part in _parts(texts) for text in tokenizer.encode_batch_fast(part, add_special_tokens=False)]


def _tokenizer(base: Path) -> Any:
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(base / "tokenizer.json"))


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    return (list(texts[start : start + PART]) for start in range(0, len(texts), PART))


def check_lengths(base: Path, texts: Sequence[str], limit: int, key: str, source: Path) -> None:
    """Require that no text has more than `limit` tokens: OpenRLHF would silently truncate or drop it.

    Args:
        key: the setting with the limit, for the message.
        source: the file whose rows are `texts`, for the message.

    Raises:
        UserError: rows are too long; the message contains the first of them, their number and the longest.
    """
    lengths = token_counts(base, texts)
    longest = max(lengths, default=0)
    if longest > limit:
        cut = [row for row, length in enumerate(lengths, start=1) if length > limit]
        more = f" and {len(cut) - 5} more" if len(cut) > 5 else ""
        raise UserError(
            f"{source}: {len(cut)} of {len(lengths)} rows have more than {key} = {limit} tokens and would be truncated:"
            f" rows {', '.join(map(str, cut[:5]))}{more}. The longest, row {lengths.index(longest) + 1}, has {longest}."
            f" Set {key} to this number or more."
        )


def as_decoded(base: Path, texts: Sequence[str], source: Path) -> list[str]:
    """Return texts as the tokenizer gives them back: some normalise, for example the angstrom sign to a letter.

    The tokens are the same. The reward hook compares the prompt with decoded text, so it must get the decoded prompt.

    Args:
        source: the file whose rows are `texts`, for the message.

    Raises:
        UserError: a decoded text has other tokens than the text.
    """
    tokenizer = _tokenizer(base)
    decoded: list[str] = []
    for part in _parts(texts):
        tokens = [text.ids for text in tokenizer.encode_batch_fast(part, add_special_tokens=False)]
        again = tokenizer.decode_batch(tokens, skip_special_tokens=False)
        for ids, text in zip(tokens, tokenizer.encode_batch_fast(again, add_special_tokens=False), strict=True):
            if ids != text.ids:
                row = len(decoded) + tokens.index(ids)
                raise UserError(
                    f"{source}, row {row + 1}: the tokenizer does not reproduce this text, so responses could not be"
                    " separated from the prompt. Remove the question, or replace its unusual characters:"
                    f" {texts[row]!r}"
                )
        decoded += again
    return decoded


def letter_tokens(base: Path, prompts: Sequence[str], options: Sequence[int]) -> list[list[int]]:
    """Return for each prompt the id of the token that each option's letter would be after the prompt.

    Args:
        options: number of options of each question.

    Raises:
        UserError: a letter is not exactly one token after a prompt, so no single next token has its probability.
    """
    tokenizer = _tokenizer(base)
    answered = [
        prompt + letter_continuation(prompt, index)
        for prompt, count in zip(prompts, options, strict=True)
        for index in range(count)
    ]
    encoded = iter(tokenizer.encode_batch(answered, add_special_tokens=False))
    found = []
    for prompt, count in zip(tokenizer.encode_batch(list(prompts), add_special_tokens=False), options, strict=True):
        row = []
        for index, text in enumerate(islice(encoded, count)):
            if text.ids[:-1] != prompt.ids:
                raise UserError(
                    f"base model: the letter {LETTERS[index]} is not a single token after a prompt, so letters cannot"
                    " be scored. Remove the mode with answer_format: loglikelihood from every list of modes."
                )
            row.append(text.ids[-1])
        found.append(row)
    return found
