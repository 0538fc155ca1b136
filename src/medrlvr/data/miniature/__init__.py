"""A small synthetic medical world: questions, training text, and the miniature's base model."""
