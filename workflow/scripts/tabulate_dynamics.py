"""Write one row per update of a run, and the stages of the run."""

from medrlvr.dynamics.summary import summarise_run
from medrlvr.dynamics.updates import tabulate
from medrlvr.runtime.files import read_parquet, write_json, write_parquet
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs = snakemake.input
        rollouts, responses = read_parquet(inputs.rollouts), read_parquet(inputs.responses)
        table = tabulate(rollouts, responses, read_parquet(inputs.trainer), read_parquet(inputs.curve))
        table.insert(0, "arm", snakemake.wildcards.arm)
        table.insert(1, "seed", int(snakemake.wildcards.seed))
        write_parquet(snakemake.output.table, table)
        found = summarise_run(table, rollouts, responses)
        write_json(snakemake.output.stages, found | {"provenance": provenance(inputs, snakemake.params.again)})
