"""Render the prompts of training and of every benchmark."""

import pandas as pd

from medrlvr.files import read_parquet, write_json_lines, write_parquet
from medrlvr.job import job
from medrlvr.prompts import Renderer


def benchmark_prompts(benchmarks: dict[str, pd.DataFrame], renderer: Renderer, mode: str) -> pd.DataFrame:
    """Return question_id, benchmark and prompt of every benchmark question in one mode."""
    return pd.DataFrame(
        {"question_id": question["question_id"], "benchmark": name, "prompt": renderer.prompt(question, mode)}
        for name, table in benchmarks.items()
        for question in table.to_dict("records")
    )


if __name__ == "__main__":
    with job(snakemake.log[0]):
        templates = ("question", "direct", "chain_of_thought")
        renderer = Renderer(**{name: snakemake.input[name] for name in templates})
        train = read_parquet(snakemake.input.train).to_dict("records")
        write_json_lines(snakemake.output.sft, [renderer.sft_row(question) for question in train])
        write_json_lines(snakemake.output.rlvr, [renderer.rlvr_row(question) for question in train])
        benchmarks = {
            name: read_parquet(path)
            for name, path in zip(snakemake.params.benchmarks, snakemake.input.benchmarks, strict=True)
        }
        for mode in ("direct", "chain_of_thought"):
            write_parquet(snakemake.output[mode], benchmark_prompts(benchmarks, renderer, mode))
