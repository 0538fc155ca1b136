"""Render the training prompts."""

from medrlvr.data.prompts import Renderer
from medrlvr.runtime.files import read_parquet, write_json_lines
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        templates = ("question", "direct", "chain_of_thought")
        renderer = Renderer(**{name: snakemake.input[name] for name in templates})
        train = read_parquet(snakemake.input.train).to_dict("records")
        write_json_lines(snakemake.output.sft, [renderer.sft_row(question) for question in train])
        write_json_lines(snakemake.output.rlvr, [renderer.rlvr_row(question) for question in train])
