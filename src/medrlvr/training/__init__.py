"""Supervised fine-tuning and RLVR with OpenRLHF (paper, sections 2 and 3.3)."""
