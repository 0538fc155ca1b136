"""Option letters, and the text of a letter after a prompt."""

import operator

LETTERS = "ABCDEFGHIJK"
"""Option letters in order: MMLU-Pro has up to ten options, and "None of the above" may add one."""


def option_index(gold: object, options: int) -> int:
    """Return the index, from 0, of an option given as an index or as a capital letter.

    Args:
        gold: the index or the letter.
        options: number of options.

    Raises:
        ValueError: `gold` is neither.
    """
    allowed = LETTERS[:options]
    if isinstance(gold, str) and len(gold) == 1 and gold in allowed:
        return allowed.index(gold)
    # Not isinstance: numpy's integers are no int. The check for bool remains, because True is an index of Python.
    if hasattr(gold, "__index__") and not isinstance(gold, bool) and 0 <= (index := operator.index(gold)) < options:
        return index
    raise ValueError(f"gold must be {gold_values(options)}, not {gold!r}")


def gold_values(options: int) -> str:
    """Return what `option_index` accepts for this number of options, for messages."""
    return f"a letter from A to {LETTERS[options - 1]} or an index from 0 to {options - 1}"


def letter_continuation(prompt: str, index: int) -> str:
    """Return an option's letter as it follows a prompt, with the space that tokenizers expect before a word.

    No space is added if the prompt ends with white space, as chat templates do.
    """
    return f"{'' if prompt[-1:].isspace() else ' '}{LETTERS[index]}"
