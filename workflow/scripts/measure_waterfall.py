"""Divide RLVR's gain over its base into steps."""

import pandas as pd

from medrlvr.config.design import ComparisonDesign
from medrlvr.evaluation.score import majority_vote
from medrlvr.evaluation.waterfall import measure_waterfall
from medrlvr.runtime.files import read_parquet, write_json, write_text
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        models, benchmarks = (
            zip(*pair, strict=True) for pair in ((params.models, inputs.scores), (params.benchmarks, inputs.questions))
        )
        steps, arms = measure_waterfall(
            {model: majority_vote(read_parquet(path)) for model, path in models},
            {name: read_parquet(path) for name, path in benchmarks},
            read_parquet(inputs.clusters).set_index("question_id")["cluster"],
            ComparisonDesign(**params.design),
            params.roles,
            params.resamples,
            params.seed,
        )
        write_text(output.table, pd.json_normalize(steps).to_csv(index=False))
        write_json(output.record, {"steps": steps, "arms": arms, "provenance": provenance(inputs, params.again)})
