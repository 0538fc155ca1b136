"""The embedded default: a small medical world of our own, its questions, and a base model that was trained on it."""
