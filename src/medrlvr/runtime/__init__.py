"""Lowest layer: files, processes, logs, downloads. It imports no other package of medrlvr."""
