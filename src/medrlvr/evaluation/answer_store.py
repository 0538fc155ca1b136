"""The answer cache: shards of answers, each named by a hash of everything that determines them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

SHARD_ANSWERS = 2048
"""Maximum number of answers of one benchmark and mode that an interruption loses."""
ANSWER_TYPES = {
    **dict.fromkeys(("question_id", "benchmark", "mode"), pa.string()),
    **dict.fromkeys(("sample", "prompt_tokens"), pa.int64()),
    **dict.fromkeys(("response", "finish_reason"), pa.string()),
    "response_tokens": pa.int64(),
    "letter_logprobs": pa.list_(pa.float64()),
    **dict.fromkeys(("hardware", "runner", "model"), pa.string()),
}
"""Column of the answers -> type."""

_DECIDING = ("question_id", "prompt", "answer_format", "max_tokens", "samples", "temperature", "seed", "letter_tokens")


def requests_of(asked: pd.DataFrame, model: str | Path) -> pd.DataFrame:
    """Return the requests for one model: those that name it in the column `model`, or all without this column."""
    return asked[asked["model"] == str(model)] if "model" in asked else asked


def shard_names(asked: pd.DataFrame, deciding: Sequence[str]) -> pd.Series:
    """Return for each request the name of the shard of its answers."""
    names = pd.Series("", index=asked.index)
    keys = ["benchmark", "mode", *(["model"] if "model" in asked else [])]
    for (_, mode, *_), group in asked.groupby(keys, sort=False):
        rows = max(1, SHARD_ANSWERS // int(group["samples"].iloc[0]))
        for start in range(0, len(group), rows):
            part = group.iloc[start : start + rows]
            text = "\n".join([*deciding, str(mode), part[[*_DECIDING]].to_json(orient="values")])
            names[part.index] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return names


def missing_answers(asked: pd.DataFrame, answers: Path) -> pd.Series:
    """Return which requests have no cached answer, in their order.

    Args:
        asked: requests with the column `shard`.
        answers: folder of the shards.
    """
    there = [shard for shard in asked["shard"].unique() if (answers / f"{shard}.parquet").is_file()]
    return ~asked["shard"].isin(there)


def complete_shards(asked: pd.DataFrame, answers: Path) -> list[str]:
    """Return the shards of each benchmark and mode whose answers are all cached."""
    missing = missing_answers(asked, answers).groupby([asked["benchmark"], asked["mode"]]).transform("any")
    return [*asked.loc[~missing, "shard"].unique()]
