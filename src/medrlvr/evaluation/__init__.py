"""From trained models to answers, scores and claims (paper, section 4.1)."""
