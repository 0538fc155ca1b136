"""Option letters, and a letter as it continues a prompt."""

LETTERS = "ABCDEFGHIJK"
"""Option letters in order: MMLU-Pro has up to ten options, and "None of the above" may add one."""


def letter_continuation(prompt: str, index: int) -> str:
    """Return an option's letter as an answer follows a prompt: with the space that tokenisers expect before a word.

    Behind white space, as chat templates end, none is added.
    """
    return f"{'' if prompt[-1:].isspace() else ' '}{LETTERS[index]}"
