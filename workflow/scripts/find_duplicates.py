"""Find duplicates within and across the splits of the experiment."""

import pandas as pd

from medrlvr.data.duplicates import CLUSTER_SCHEMA, PAIR_SCHEMA, find_clusters, find_pairs
from medrlvr.data.questions import write_table
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        questions = pd.concat([read_parquet(path) for path in snakemake.input.questions], ignore_index=True)
        pairs = find_pairs(questions, snakemake.params.near_similarity)
        write_table(snakemake.output.pairs, pairs, PAIR_SCHEMA)
        write_table(snakemake.output.clusters, find_clusters(questions, pairs), CLUSTER_SCHEMA)
        notify(f"{(pairs['kind'] == 'exact').sum()} exact and {(pairs['kind'] == 'near').sum()} near-duplicate pairs")
