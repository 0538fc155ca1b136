"""Training on the real stack: OpenRLHF's `train_sft` and `train_ppo_ray`, started, watched and checked."""
