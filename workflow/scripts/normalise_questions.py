"""Turn one fetched file into questions and rejected rows."""

from medrlvr.data.questions import REJECTED_SCHEMA, question_schema, read_questions, write_table
from medrlvr.data.registry import find, load_registry
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake) as notify:
        source = find(load_registry(snakemake.input.registry), snakemake.params.name)
        append = source.dataset in snakemake.params.none_of_the_above
        questions, rejected = read_questions(snakemake.input.raw, source, append)
        write_table(snakemake.output.questions, questions, question_schema(questions))
        write_table(snakemake.output.rejected, rejected, REJECTED_SCHEMA)
        notify(f"{source.name}: {len(questions)} questions" + (f", {len(rejected)} rejected" if len(rejected) else ""))
