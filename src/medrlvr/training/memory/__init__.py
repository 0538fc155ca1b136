"""Estimated memory of training, checked before a job is submitted."""
