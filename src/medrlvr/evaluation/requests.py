"""Requests: every question of every eval set in every evaluation mode, and the selection for one model."""

import hashlib
import random
from collections.abc import Mapping, Sequence

import pandas as pd

from medrlvr.config.evaluation import Mode
from medrlvr.data.kind_prompts import KindRenderer


def render_requests(renderer: KindRenderer, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return every question of every eval set in every mode.

    Args:
        renderer: renderer with the templates of the modes.
        tables: eval set -> its questions.

    Returns:
        question_id, benchmark, mode, prompt, options (their number, 0 for a number or text) and template (files and
        hashes).
    """
    return pd.DataFrame(
        {
            "question_id": row["question_id"],
            "benchmark": name,
            "mode": mode,
            "prompt": renderer.prompt(row, mode),
            "options": len(row["options"]),
            "template": renderer.version(row, mode),
        }
        for mode in renderer.modes
        for name, table in tables.items()
        for row in table.to_dict("records")
    )


def build_requests(
    prompts: pd.DataFrame, sets: Mapping[str, Sequence[str]], settings: Mapping[str, Mode], seed: int
) -> pd.DataFrame:
    """Return the requests for one model, with their sampling settings.

    Args:
        prompts: as `render_requests` returns them.
        sets: benchmark, control or development -> evaluation modes.
        settings: settings of every mode.
        seed: seed for sampled answers, from which each request gets its own; greedy answers do not depend on it.

    Returns:
        The rows of the prompts with answer_format, max_tokens, samples, temperature and seed, 0 for greedy answers.
    """
    wanted = [mode in sets.get(name, ()) for name, mode in zip(prompts["benchmark"], prompts["mode"], strict=True)]
    asked = prompts[wanted].reset_index(drop=True)
    how = asked["mode"].map(lambda mode: settings[mode])
    for name in ("answer_format", "max_tokens", "samples", "temperature"):
        asked[name] = [getattr(mode, name) for mode in how]
    named = zip(asked["temperature"], asked["benchmark"], asked["mode"], asked["question_id"], strict=True)
    return asked.assign(seed=[request_seed(seed, *names) if heat > 0 else 0 for heat, *names in named])


def request_seed(seed: int, *names: str) -> int:
    """Return a seed for one request, from 0 to 2^48 - 1.

    vLLM draws sample i of a request from a generator with the request's seed plus i. With one seed for all requests,
    sample i of every question would have the same random numbers, and samples of different questions would not be
    independent.

    Args:
        seed: seed of the evaluation.
        names: benchmark, mode and question.
    """
    return int.from_bytes(hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()[:6], "big")


def draw_questions(prompts: pd.DataFrame, number: int, seed: int) -> pd.DataFrame:
    """Return the rows of `number` questions of each benchmark, or of all if there are fewer, in the table's order.

    Args:
        prompts: benchmark and question_id, with one row or more for each question.
        seed: seed of the draw, which depends on nothing else but the benchmark's name and questions. A smaller number
            draws some of the questions of a larger one.
    """
    kept = pd.Series(False, index=prompts.index)
    for name, rows in prompts.groupby("benchmark", sort=False):
        known = list(dict.fromkeys(rows["question_id"]))
        random.Random(f"{seed}:{name}").shuffle(known)
        kept[rows.index] = rows["question_id"].isin(known[:number])
    return prompts[kept].reset_index(drop=True)
