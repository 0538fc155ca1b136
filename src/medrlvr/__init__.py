"""Med-RLVR, reproducible: reinforcement learning from verifiable rewards on medical multiple-choice questions."""
