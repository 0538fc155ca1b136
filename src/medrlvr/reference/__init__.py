"""The miniature's reference run: its runs, its export to docs/reference/, and its page of results."""
