"""The miniature's reference run: its runs, its export to docs/reference/, and the page of what came out."""
