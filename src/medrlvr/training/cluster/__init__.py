"""A Ray cluster over the nodes of one Slurm job."""
