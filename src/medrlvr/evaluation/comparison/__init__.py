"""Compare models on the same questions."""
