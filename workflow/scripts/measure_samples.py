"""Grade repeated samples, and compute pass@k and maj@k."""

import pandas as pd

from medrlvr.data.evidence_checks import evidence_check
from medrlvr.evaluation.repeated import measure_samples
from medrlvr.evaluation.score import score_answers
from medrlvr.runtime.files import read_parquet, write_json, write_parquet, write_text
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        tables = zip(params.benchmarks, inputs.questions, strict=True)
        questions = pd.concat([read_parquet(path).assign(benchmark=name) for name, path in tables], ignore_index=True)
        check = evidence_check(params.evidence)
        scores = score_answers(read_parquet(inputs.answers), questions, params.forms, check)
        write_parquet(output.scores, scores)
        clusters = read_parquet(inputs.clusters).set_index("question_id")["cluster"]
        resampling = (clusters, params.resamples, params.seed)
        curves, differences = measure_samples(scores, params.models, params.rlvr, *resampling)
        write_text(output.table, pd.DataFrame(curves).to_csv(index=False))
        read = provenance(inputs, params.again)
        write_json(output.record, {"curves": curves, "rlvr_minus_base": differences, "provenance": read})
