"""Find duplicates within and across the splits of the experiment."""

import pandas as pd

from medrlvr.data.duplicates import PAIR_SCHEMA, find_duplicates
from medrlvr.data.questions import write_table
from medrlvr.files import read_parquet
from medrlvr.job import job

if __name__ == "__main__":
    with job(snakemake) as say:
        questions = pd.concat([read_parquet(path) for path in snakemake.input.questions], ignore_index=True)
        pairs = find_duplicates(questions)
        write_table(snakemake.output[0], pairs, PAIR_SCHEMA)
        say(f"{(pairs['kind'] == 'exact').sum()} exact and {(pairs['kind'] == 'near').sum()} near-duplicate pairs")
