"""Write the questions of the synthetic world of calculations."""

from medrlvr.data.calculations.world import make_questions
from medrlvr.runtime.files import write_json_lines
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        for split, rows in make_questions(snakemake.params.sizes, snakemake.params.seed).items():
            write_json_lines(snakemake.output[split], rows)
