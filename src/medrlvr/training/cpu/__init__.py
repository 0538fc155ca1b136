"""The adapter that lets the unmodified stack run without a GPU; nothing else in this package knows about it."""
