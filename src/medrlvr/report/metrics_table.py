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


def accuracy_interval(
    seeds: pd.DataFrame, over_seeds: Mapping[str, float] | None
) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of an arm's accuracy: over seeds if there are enough, over questions if there is one.

    Args:
        seeds: rows of `read_metrics`, one per training seed of the arm, of one benchmark and mode.
        over_seeds: the arm's entry of that name in comparisons.json; None with fewer than three seeds.
    """
    if over_seeds:
        return over_seeds["low"], over_seeds["high"]
    if len(seeds) > 1:
        return None, None
    one = seeds.iloc[0]
    return float(one["accuracy_low"]), float(one["accuracy_high"])
