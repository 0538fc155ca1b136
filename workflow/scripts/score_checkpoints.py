"""Grade the answers of a run's checkpoints and compute their metrics."""

import pandas as pd

from medrlvr.data.evidence_checks import evidence_check
from medrlvr.dynamics.updates import grade_checkpoints, summarise_checkpoints
from medrlvr.evaluation.score import score_answers
from medrlvr.evaluation.selection import update_of
from medrlvr.runtime.files import read_parquet, write_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        params = snakemake.params
        tables = zip(params.benchmarks, snakemake.input.questions, strict=True)
        questions = pd.concat([read_parquet(path).assign(benchmark=name) for name, path in tables], ignore_index=True)
        answers = read_parquet(snakemake.input.answers)
        check = evidence_check(params.evidence)
        scores = score_answers(answers, questions, dict.fromkeys(answers["mode"], params.answer_format), check)
        updates = {model: update_of(model) for model in answers["model"].unique()}
        write_parquet(snakemake.output.accuracy, summarise_checkpoints(scores, updates))
        write_parquet(snakemake.output.grades, grade_checkpoints(scores, updates))
