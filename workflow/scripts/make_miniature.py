"""Write the miniature world's questions."""

from medrlvr.files import write_json_lines
from medrlvr.job import job
from medrlvr.miniature.world import make_questions

if __name__ == "__main__":
    with job(snakemake):
        for split, rows in make_questions(snakemake.params.sizes, snakemake.params.seed).items():
            write_json_lines(snakemake.output[split], rows)
