"""When a response counts as reasoned, in the claims and in the report."""

REASONED_CHARS = 40
"""Minimum characters of reasoning, about one clause, before the answer is first named."""


def is_reasoned(valid_format: bool, reasons: bool | None, named_at: float | None, think_chars: int) -> bool:
    """Return whether a response reasons: it has a valid format and its steps are present and true.

    Args:
        valid_format: whether it has a think block, then an answer block.
        reasons: whether its steps are present and true; None if the steps of the answers were not checked. Then at
            least `REASONED_CHARS` characters of reasoning must precede the answer instead.
        named_at: characters of the think block before it first names the answer; None if it does not.
        think_chars: characters of the think block.
    """
    if reasons is not None:
        return valid_format and reasons
    return valid_format and (think_chars if named_at is None else named_at) >= REASONED_CHARS
