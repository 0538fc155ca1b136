"""Resuming a run exactly: planned order of prompts, checkpoints that are checked before use, requested stops."""
