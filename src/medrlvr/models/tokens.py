"""Token counts, length checks, and the tokens of option letters."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from medrlvr.grading.letters import LETTERS, letter_continuation
from medrlvr.runtime.errors import UserError


def token_counts(base: Path, texts: Sequence[str]) -> list[int]:
    """Return how many tokens the model of folder `base` reads in each text, special ones not added."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    counts: list[int] = []
    # In parts: what a batch returns takes far more memory than its texts.
    for start in range(0, len(texts), 4096):
        batch = list(texts[start : start + 4096])
        counts += [len(text) for text in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
    return counts


def check_lengths(base: Path, texts: Sequence[str], limit: int, key: str, source: Path) -> None:
    """Require that no text has more than `limit` tokens: OpenRLHF would cut or drop it without a word.

    Args:
        key: the setting that holds the limit, for the message.
        source: the file whose rows `texts` are, for the message.

    Raises:
        UserError: names the first of the rows that are too long, how many there are, and the longest.
    """
    lengths = token_counts(base, texts)
    longest = max(lengths)
    if longest > limit:
        cut = [row for row, length in enumerate(lengths, start=1) if length > limit]
        more = f" and {len(cut) - 5} more" if len(cut) > 5 else ""
        raise UserError(
            f"{source}: {len(cut)} of {len(lengths)} rows have more than {key} = {limit} tokens and would be cut: rows"
            f" {', '.join(map(str, cut[:5]))}{more}. The longest, row {lengths.index(longest) + 1}, has {longest}:"
            f" raise {key} to that or more."
        )


def letter_tokens(base: Path, prompts: Sequence[str], options: Sequence[int]) -> list[list[int]]:
    """Return for each prompt the token of every option's letter as it would follow the prompt.

    Args:
        options: how many each question has.

    Raises:
        UserError: a letter is more than one token there, so that its probability is not that of one next token.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
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
                    f"base model: behind a prompt the letter {LETTERS[index]} is not one token of its tokenizer, so"
                    " letters cannot be scored. Take the mode that does out of the modes: that name it (answer_format:"
                    " loglikelihood)."
                )
            row.append(text.ids[-1])
        found.append(row)
    return found
