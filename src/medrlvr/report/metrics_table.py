"""All metrics.json files of an experiment as one table."""

from collections.abc import Mapping

import pandas as pd

from medrlvr.runtime.files import read_json


def read_metrics(paths: Mapping[str, str], titles: Mapping[str, str]) -> pd.DataFrame:
    """Read every model's metrics.json into one table, with the columns model and title (of the benchmark) in front.

    Args:
        paths: model -> file.
        titles: benchmark -> title; also the order of the rows.
    """
    records = [
        {"model": model, "title": titles[record["benchmark"]], **record}
        for benchmark in titles
        for model, path in paths.items()
        for record in read_json(path)["records"]
        if record["benchmark"] == benchmark
    ]
    return pd.DataFrame(records)
