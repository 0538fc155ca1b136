"""Training dynamics, computed from the rollouts on disk (paper, section 4.2 and Figure 2)."""
