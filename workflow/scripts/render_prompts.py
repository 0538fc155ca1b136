"""Render the prompts of training."""

from medrlvr.files import read_parquet, write_json_lines
from medrlvr.job import job
from medrlvr.prompts import Renderer

if __name__ == "__main__":
    with job(snakemake):
        templates = ("question", "direct", "chain_of_thought")
        renderer = Renderer(**{name: snakemake.input[name] for name in templates})
        train = read_parquet(snakemake.input.train).to_dict("records")
        write_json_lines(snakemake.output.sft, [renderer.sft_row(question) for question in train])
        write_json_lines(snakemake.output.rlvr, [renderer.rlvr_row(question) for question in train])
