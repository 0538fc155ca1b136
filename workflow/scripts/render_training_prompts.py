"""Render the training prompts."""

from medrlvr.data.kind_prompts import KindRenderer, layouts_among
from medrlvr.runtime.files import read_parquet, write_json_lines
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs = snakemake.input
        renderer = KindRenderer(layouts_among(inputs), direct=inputs.direct, chain_of_thought=inputs.chain_of_thought)
        train = read_parquet(inputs.train).to_dict("records")
        write_json_lines(snakemake.output.sft, [renderer.sft_row(question) for question in train])
        write_json_lines(snakemake.output.rlvr, [renderer.rlvr_row(question) for question in train])
