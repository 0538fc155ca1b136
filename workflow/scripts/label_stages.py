"""Label every sampled response with the stage that it shows."""

from pathlib import Path

from medrlvr.data.evidence_checks import evidence_check
from medrlvr.dynamics.responses import label_responses
from medrlvr.models.tokens import token_counts
from medrlvr.runtime.files import read_parquet, write_parquet
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        rollouts = read_parquet(snakemake.input.rollouts)
        questions = read_parquet(snakemake.input.train).set_index("question_id")
        check = evidence_check(snakemake.params.evidence)
        tokens = token_counts(Path(snakemake.input.base), rollouts["response"].tolist())
        write_parquet(snakemake.output[0], label_responses(rollouts, questions, tokens, check))
