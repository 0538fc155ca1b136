"""Upstream files to questions to prompts (paper, section 3.1 and 3.2)."""
