"""Model folders: fetch, check, count tokens and parameters."""
