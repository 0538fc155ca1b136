"""Option letters, and the text of a letter after a prompt."""

LETTERS = "ABCDEFGHIJK"
"""Option letters in order: MMLU-Pro has up to ten options, and "None of the above" may add one."""


def letter_continuation(prompt: str, index: int) -> str:
    """Return an option's letter as it follows a prompt, with the space that tokenizers expect before a word.

    No space is added if the prompt ends with white space, as chat templates do.
    """
    return f"{'' if prompt[-1:].isspace() else ' '}{LETTERS[index]}"
