"""A small synthetic medical world: its questions, its training text and the miniature's base model."""
