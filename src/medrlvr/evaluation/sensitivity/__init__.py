"""Sensitivity of an answer to its chain of thought: interventions on the think block (docs/controls.md)."""
