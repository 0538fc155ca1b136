"""Models compared on the same questions."""
