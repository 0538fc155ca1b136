"""Figures, each drawn from its own CSV table."""
