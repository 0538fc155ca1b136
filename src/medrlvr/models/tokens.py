"""Token counts, length checks, and the tokens of option letters."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from medrlvr.grading.letters import LETTERS, letter_continuation
from medrlvr.runtime.errors import UserError


def token_counts(base: Path, texts: Sequence[str]) -> list[int]:
    """Return the number of tokens in each text, without special tokens, for the model in folder `base`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    counts: list[int] = []
    # In parts, because the encoded texts of a batch need far more memory than the texts.
    for start in range(0, len(texts), 4096):
        batch = list(texts[start : start + 4096])
        counts += [len(text) for text in tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
    return counts


def check_lengths(base: Path, texts: Sequence[str], limit: int, key: str, source: Path) -> None:
    """Require that no text has more than `limit` tokens: OpenRLHF would silently truncate or drop it.

    Args:
        key: the setting with the limit, for the message.
        source: the file whose rows are `texts`, for the message.

    Raises:
        UserError: rows are too long; the message contains the first of them, their number and the longest.
    """
    lengths = token_counts(base, texts)
    longest = max(lengths)
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
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))

    def ids(batch: Sequence[str]) -> list[list[int]]:
        return [text.ids for text in tokenizer.encode_batch(list(batch), add_special_tokens=False)]

    tokens = ids(texts)
    decoded: list[str] = tokenizer.decode_batch(tokens, skip_special_tokens=False)
    for row, (before, after) in enumerate(zip(tokens, ids(decoded), strict=True), start=1):
        if before != after:
            raise UserError(
                f"{source}, row {row}: the tokenizer does not give this text back, so responses could not be separated"
                f" from the prompt. Remove the question, or replace its unusual characters: {texts[row - 1]!r}"
            )
    return decoded


def letter_tokens(base: Path, prompts: Sequence[str], options: Sequence[int]) -> list[list[int]]:
    """Return for each prompt the id of the token that each option's letter would be after the prompt.

    Args:
        options: number of options of each question.

    Raises:
        UserError: a letter is not exactly one token after a prompt, so no single next token has its probability.
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
                    f"base model: the letter {LETTERS[index]} is not a single token after a prompt, so letters cannot"
                    " be scored. Remove the mode with answer_format: loglikelihood from every list of modes."
                )
            row.append(text.ids[-1])
        found.append(row)
    return found
