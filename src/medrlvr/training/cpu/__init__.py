"""The adapter that lets the unmodified stack run without a GPU."""
