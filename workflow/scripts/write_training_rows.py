"""Write training rows with other labels, or with the base's own right responses."""

from pathlib import Path

from medrlvr.data.readers import read_rows
from medrlvr.evaluation.other_targets import majority_labels, own_responses, relabelled, wrong_label
from medrlvr.evaluation.score import score_answers
from medrlvr.runtime.files import read_parquet, write_json_lines
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        inputs = snakemake.input
        rows = [row for _, row in read_rows(Path(inputs.prompts), ("input", "label"))]
        if snakemake.wildcards.rows == "wrong":
            found = relabelled(rows, wrong_label)
        else:
            questions, answers = read_parquet(inputs.train).assign(benchmark="train"), read_parquet(inputs.answers)
            rows = rows[: answers["question_id"].nunique()]
            scores = score_answers(answers, questions, {"chain_of_thought": "tagged"})
            if snakemake.wildcards.rows == "majority":
                found = relabelled(rows, majority_labels(scores))
            else:
                found, counted = own_responses(rows, scores)
                notify(counted)
        write_json_lines(snakemake.output[0], found)
