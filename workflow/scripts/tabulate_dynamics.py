"""One row per update of one run."""

from medrlvr.dynamics.table import tabulate
from medrlvr.files import read_parquet, write_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake):
        table = tabulate(read_parquet(snakemake.input.rollouts), read_parquet(snakemake.input.trainer))
        table.insert(0, "arm", snakemake.wildcards.arm)
        table.insert(1, "seed", int(snakemake.wildcards.seed))
        write_parquet(snakemake.output[0], table)
