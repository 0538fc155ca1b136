"""A Ray cluster on the nodes of one Slurm job."""
