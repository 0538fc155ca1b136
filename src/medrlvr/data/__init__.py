"""Turn upstream files into questions and prompts (paper, sections 3.1 and 3.2)."""
