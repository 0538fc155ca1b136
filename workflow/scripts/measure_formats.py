"""Grade answers in other formats, and compute accuracies with and without remembered questions."""

import pandas as pd

from medrlvr.evaluation.formats import (
    accuracy_without_remembered,
    format_differences,
    format_matrix,
    grade_formats,
)
from medrlvr.evaluation.score import majority_vote
from medrlvr.runtime.files import read_parquet, write_json, write_text
from medrlvr.runtime.provenance import provenance
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, output, params = snakemake.input, snakemake.output, snakemake.params
        tables = zip(params.benchmarks, inputs.questions, strict=True)
        questions = pd.concat([read_parquet(path).assign(benchmark=name) for name, path in tables], ignore_index=True)
        graded = grade_formats(read_parquet(inputs.answers), questions)
        clusters = read_parquet(inputs.clusters).set_index("question_id")["cluster"]
        resampling = (clusters, params.resamples, params.seed)
        matrix = format_matrix(graded, *resampling)
        differences = format_differences(graded, params.rlvr, params.base, *resampling)
        scores = {}
        for (model, mode), path in zip(params.models.items(), inputs.scores, strict=True):
            voted = majority_vote(read_parquet(path))
            scores[model] = voted[voted["mode"] == mode]
        memory = accuracy_without_remembered(graded, scores)
        write_text(output.matrix, pd.DataFrame(matrix).to_csv(index=False))
        write_text(output.memory, pd.DataFrame(memory).to_csv(index=False))
        record = {"matrix": matrix, "rlvr_minus_base": differences, "memory": memory}
        write_json(output.record, record | {"provenance": provenance(inputs, params.again)})
