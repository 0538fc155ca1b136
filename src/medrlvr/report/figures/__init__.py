"""Figures, each drawn from a CSV table of its own."""
