"""Draws that depend only on what they are for, so that a repeated or resumed run has the same ones."""

import hashlib


def uniform(*identity: object) -> float:
    """Return a number from 0 to 1 (exclusive), independent for each identity.

    Args:
        identity: what the draw is for, such as a seed and a question_id; equal texts of all parts give equal draws.
    """
    digest = hashlib.sha256("\x1f".join(map(str, identity)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64
