"""Remove contaminated training questions, then draw the training and the held-out samples."""

import pandas as pd

from medrlvr.data.contamination import MATCH_SCHEMA, find_matches, remove_known
from medrlvr.data.questions import question_schema, sample, write_table
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs, params = snakemake.input, snakemake.params
        train = read_parquet(inputs.train)
        held_out = {name: read_parquet(path) for name, path in zip(params.names, inputs.held_out, strict=True)}
        matches = find_matches(
            pd.concat([train, *held_out.values()], ignore_index=True),
            read_parquet(inputs.pairs),
            read_parquet(inputs.runs),
            params.train,
            params.rules,
        )
        write_table(snakemake.output.contamination, matches, MATCH_SCHEMA)
        clean = remove_known(train, matches)
        for name, table in {"train": clean, **held_out}.items():
            drawn = sample(table, params.rows[name], params.seed)
            write_table(snakemake.output[name], drawn, question_schema(drawn))
        if len(clean) < len(train):
            removed = len(train) - len(clean)
            notify(f"{removed} of {len(train)} training questions were removed, because a held-out set contains them")
