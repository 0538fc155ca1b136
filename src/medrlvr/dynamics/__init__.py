"""How a run developed: stages and reward hacking (paper, section 4.2)."""
