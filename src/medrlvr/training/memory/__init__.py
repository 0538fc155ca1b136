"""Estimate the memory of training, and check it before a job is submitted."""
