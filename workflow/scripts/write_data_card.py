"""Describe the experiment's questions."""

from pathlib import Path

import pandas as pd

from medrlvr.config.data import Contamination
from medrlvr.data.data_card import data_card
from medrlvr.data.registry import find, load_registry
from medrlvr.runtime.files import read_parquet, write_json
from medrlvr.runtime.step_log import step_log

if __name__ == "__main__":
    with step_log(snakemake):
        inputs, params = snakemake.input, snakemake.params
        registry = load_registry(inputs.registry)
        tables = {name: read_parquet(inputs[name]) for name in ("pairs", "clusters", "contamination")}
        card = data_card(
            [find(registry, name) for name in params.sets],
            pd.concat([read_parquet(path) for path in inputs.questions], ignore_index=True),
            pd.concat([read_parquet(path) for path in inputs.rejected], ignore_index=True),
            tables["pairs"],
            tables["clusters"],
            tables["contamination"],
            {name: read_parquet(path) for name, path in zip(params.used, inputs.used, strict=True)},
            Contamination.model_validate(params.contamination),
            Path(inputs.base),
        )
        write_json(snakemake.output[0], card)
