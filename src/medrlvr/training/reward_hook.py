"""OpenRLHF loads this file by its path (`--reward.remote_url`) and calls `reward_func` once per response.

It runs in vLLM's process, in several threads at once. OpenRLHF logs and swallows an exception raised here. The first
one is therefore also written, with its response, to a file that the launching process watches.
"""

import json
import os
import socket
import threading
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TextIO

from medrlvr.data.evidence_checks import evidence_check
from medrlvr.data.keys import key_of, kind_of
from medrlvr.dynamics.hack_monitor import response_features
from medrlvr.grading.draws import uniform
from medrlvr.grading.kinds import grade_answer
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import reward_from_json
from medrlvr.runtime.files import write_text
from medrlvr.training.resume.prompt_order import SEED_VARIABLE
from medrlvr.training.rollouts import FAILURE_FILE, split_response

LOGGED = ("strict_format", "correct", "lenient_correct", "chars_before_think", "think_chars")
"""Fields of a grade whose means OpenRLHF logs, in addition to those that the reward-hacking monitor reads."""

GRID = 2**16
"""OpenRLHF receives rewards rounded to multiples of 1/GRID, whose sums are exact in float32.

GRPO divides by the standard deviation of the rewards of one prompt. With eight rewards of 0.1, the rounding error of
their mean would count as a deviation, and each response would get an advantage of -0.8 instead of 0 (measured with
torch 2.13).
"""

_lock = threading.Lock()

_seen: Counter[tuple[int, str, str]] = Counter()
"""Update, question and response -> how often this response was sampled in the present update."""


def reward_func(queries: list[str], prompts: list[str], labels: list[str], **_: object) -> dict[str, object]:
    """Grade one response, save it with its grade, and return its reward.

    Args:
        queries: prompt and response in one text, with special tokens; OpenRLHF 0.11.2 passes one at a time.
        prompts: the prompt alone.
        labels: JSON objects with question_id, update, and the key: options and gold, or kind and key. With `label`, the
            reward counts this option as right instead of `gold`, and all other values are still those of `gold`.

    Returns:
        rewards and scores (the reward, rounded to `GRID`), and extra_logs, other values that OpenRLHF logs.
    """
    folder = Path(os.environ["MEDRLVR_ROLLOUTS"])
    try:
        (query,), (prompt,), (facts,) = queries, prompts, labels
        question = json.loads(facts)
        response, finish_reason = split_response(query, prompt, os.environ["MEDRLVR_END_OF_TEXT"])
        ended = finish_reason == "length"
        found = grade_answer(response, key_of(question), truncated=ended)
        rewarded = found
        if "label" in question:
            rewarded = grade_answer(response, key_of(question | {"gold": question["label"]}), truncated=ended)
        terms = reward_from_json(os.environ["MEDRLVR_REWARD"], kind_of(question), drawn=True)
        draw = draw_of(question, response) if terms.is_drawn else None
        reward = terms(rewarded, draw)
        parts = {f"reward_{name}": value for name, value in terms.parts(rewarded, draw).items()}
        row = {
            "update": question["update"],
            "question_id": question["question_id"],
            "response": response,
            "finish_reason": finish_reason,
            **asdict(found),
            **({"rewarded_letter": LETTERS[question["label"]]} if "label" in question else {}),
            "reward": reward,
            **parts,
        }
        check = evidence_check(os.environ.get("MEDRLVR_EVIDENCE"))
        evidence = check(prompt, question.get("options", ()), response, found) if check else None
        logged = {name: float(getattr(found, name)) for name in LOGGED}
        logged |= parts | response_features(response, found, question.get("gold"), evidence)
        with _lock:
            print(json.dumps(row, ensure_ascii=False), file=_shard(folder), flush=True)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        with _lock:
            _report(folder / FAILURE_FILE, f"{what}\nlabels: {labels}\ntexts:  {queries}\n")
        raise
    told = round(reward * GRID) / GRID
    return {"rewards": told, "scores": told, "extra_logs": logged}


def draw_of(question: Mapping[str, Any], response: str) -> float:
    """Return the draw of a response, from 0 to 1.

    It depends on the run's seed, the update, the question, the response, and how often this response was sampled before
    for this question in this update. So responses with equal texts have independent draws, and the order in which
    different responses arrive does not matter. Only equal texts from different vLLM processes may share a draw.
    """
    identity = (question["update"], question["question_id"], response)
    with _lock:
        for earlier in [one for one in _seen if one[0] != question["update"]]:
            del _seen[earlier]
        _seen[identity] += 1
        number = _seen[identity]
    return uniform(os.environ[SEED_VARIABLE], *identity, number)


def _report(file: Path, text: str) -> None:
    """Write the first failure into a file. If even this fails, end this process, and with it the run."""
    try:
        if not file.exists():
            write_text(file, text)
    except OSError as error:
        print(f"{type(error).__name__}: {error}\n{text}", flush=True)
        os._exit(1)


@cache
def _shard(folder: Path) -> TextIO:
    folder.mkdir(parents=True, exist_ok=True)
    return open(folder / f"{socket.gethostname()}-{os.getpid()}.jsonl", "a", encoding="utf-8")
