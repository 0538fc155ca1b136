"""OpenRLHF loads this file by its path (`--reward.remote_url`) and calls `reward_func` once for every response.

It runs in vLLM's process, in several threads at once. OpenRLHF logs and swallows an exception raised here, so the first
one is also written, with the response that it met, to a file for which the launching process looks out.
"""

import json
import os
import socket
import threading
import time
import traceback
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TextIO

from medrlvr.dynamics.hack_monitor import response_features
from medrlvr.grading.grader import grade
from medrlvr.grading.reward_config import reward_from_json
from medrlvr.runtime.files import write_text
from medrlvr.training.rollouts import FAILURE_FILE, split_response

LOGGED = ("strict_format", "correct", "lenient_correct", "chars_before_think", "think_chars")
"""Facts of a grade whose means OpenRLHF logs, beside those that the reward-hacking monitor reads."""

GRID = 2**16
"""OpenRLHF is told rewards in multiples of 1/so many, whose sums are exact in float32.

GRPO divides by the spread of the rewards to one prompt: of eight times 0.1 it takes the rounding of their mean for one,
and gives each response an advantage of -0.8 in the place of 0 (measured with torch 2.13).
"""

_lock = threading.Lock()


def reward_func(queries: list[str], prompts: list[str], labels: list[str], **_: object) -> dict[str, object]:
    """Grade one response, write it down, and return its reward.

    Args:
        queries: prompt and response in one text, special tokens kept; OpenRLHF 0.11.2 passes one at a time.
        prompts: the prompt alone.
        labels: JSON objects with question_id, options and gold.

    Returns:
        rewards and scores (the reward, on `GRID`), and what else OpenRLHF shall log.
    """
    folder = Path(os.environ["MEDRLVR_ROLLOUTS"])
    try:
        (query,), (prompt,), (label,) = queries, prompts, labels
        question = json.loads(label)
        response, finish_reason = split_response(query, prompt, os.environ["MEDRLVR_END_OF_TEXT"])
        found = grade(response, question["options"], question["gold"], truncated=finish_reason == "length")
        terms = reward_from_json(os.environ["MEDRLVR_REWARD"])
        reward, parts = terms(found), {f"reward_{name}": value for name, value in terms.parts(found).items()}
        row = {
            "time": time.time_ns(),
            "question_id": question["question_id"],
            "response": response,
            "finish_reason": finish_reason,
            **asdict(found),
            "reward": reward,
            **parts,
        }
        logged = {name: float(getattr(found, name)) for name in LOGGED}
        logged |= parts | response_features(response, found, question["gold"])
        with _lock:
            print(json.dumps(row, ensure_ascii=False), file=_shard(folder), flush=True)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        with _lock:
            if not (folder / FAILURE_FILE).exists():
                write_text(folder / FAILURE_FILE, f"{what}\nlabels: {labels}\ntexts:  {queries}\n")
        raise
    told = round(reward * GRID) / GRID
    return {"rewards": told, "scores": told, "extra_logs": logged}


@cache
def _shard(folder: Path) -> TextIO:
    folder.mkdir(parents=True, exist_ok=True)
    return open(folder / f"{socket.gethostname()}-{os.getpid()}.jsonl", "a", encoding="utf-8")
