"""From upstream files to checked question tables (paper, section 3.1)."""
