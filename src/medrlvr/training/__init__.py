"""Supervised fine-tuning and RLVR with OpenRLHF (paper, section 2 and 3.3)."""
