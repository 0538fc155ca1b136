"""Compute the measures of sensitivity from the options' probabilities."""

import pandas as pd

from medrlvr.evaluation.selection import candidate_models, update_of
from medrlvr.evaluation.sensitivity.measures import (
    MEASURED_TYPES,
    measure_questions,
    summarise_measures,
    used_shares,
)
from medrlvr.evaluation.sensitivity.probes import measured_systems
from medrlvr.runtime.files import read_parquet, write_json, write_parquet, write_text
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        probes = read_parquet(inputs.probes)
        measured = measure_questions(probes, read_parquet(inputs.answers))
        write_parquet(output.questions, measured, MEASURED_TYPES)
        models = [*map(str, candidate_models(inputs.models))]
        sizes = {name: len(read_parquet(path)) for name, path in zip(params.benchmarks, inputs.questions, strict=True)}
        systems = measured_systems(models, sizes, params.questions, params.curve)
        resampling = (read_parquet(inputs.clusters), params.resamples, params.seed)
        summary = used_shares(probes, systems) + summarise_measures(measured, *resampling)
        records = [record | {"update": update_of(record["model"])} for record in summary]
        read = [inputs.answers, inputs.probes, inputs.clusters]
        write_text(output.table, pd.DataFrame(records).to_csv(index=False))
        write_json(output.record, {"records": records, "provenance": provenance(read, params.again)})
