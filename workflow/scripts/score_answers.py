"""Grade the answers of one model and compute its metrics."""

import pandas as pd

from medrlvr.data.evidence_checks import evidence_check
from medrlvr.evaluation.score import score_answers, summarise
from medrlvr.evaluation.strata import strata
from medrlvr.runtime.files import read_json, read_parquet, write_json, write_parquet
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, params = snakemake.input, snakemake.params
        tables = zip(params.benchmarks, inputs.questions, strict=True)
        questions = pd.concat([read_parquet(path).assign(benchmark=name) for name, path in tables], ignore_index=True)
        check = evidence_check(params.evidence)
        scores = score_answers(read_parquet(inputs.answers), questions, params.forms, check)
        write_parquet(snakemake.output.scores, scores)
        trained = set(read_parquet(inputs.train)["gold"].dropna())
        clusters = read_parquet(inputs.clusters)
        metrics = {
            "model": snakemake.wildcards.model,
            "records": summarise(scores, clusters, strata(questions, trained), params.resamples, params.seed),
            "generation": read_json(inputs.generation),
            "provenance": provenance(inputs, params.again),
        }
        write_json(snakemake.output.metrics, metrics)
