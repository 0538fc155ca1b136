"""Record the time and the GPU memory of each phase of RLVR, for the check of a new GPU.

The patches only observe: they measure functions of OpenRLHF's processes and change nothing that these functions do.
"""

import functools
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from medrlvr.training.patching import Patch, PinnedSourceError

VARIABLE = "MEDRLVR_PHASES"
"""Environment variable with the path of the file that receives the records."""

GENERATION, SCORING, CRITIC, ACTOR, WEIGHTS = (
    "generation",
    "scoring",
    "critic",
    "actor",
    "weights to the engine",
)
"""Names of the phases. The planner's phases (`memory.phases`) start with the same words."""


def variables(file: Path, others: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that record the phases in a file.

    Args:
        file: the file; it need not exist.
        others: the variables of `process_environment`, whose patches stay.
    """
    return {VARIABLE: str(file.resolve()), "MEDRLVR_PATCHES": f"{others['MEDRLVR_PATCHES']} phase_watch"}


def read_phases(file: Path) -> pd.DataFrame:
    """Return the records in order of their start: phase, start and end (seconds since 1970), and the process's peaks.

    The peaks, `allocated` and `reserved`, are bytes of torch's allocator; a process without a GPU has 0.
    """
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return pd.DataFrame(rows, columns=["phase", "start", "end", "allocated", "reserved"]).sort_values("start")


def _recorded(function: Callable[..., Any], phase: str, when: Callable[..., bool]) -> Callable[..., Any]:
    @functools.wraps(function)
    def measured(*arguments: Any, **named: Any) -> Any:
        if not when(*arguments, **named):
            return function(*arguments, **named)
        import torch

        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        start = time.time()
        try:
            return function(*arguments, **named)
        finally:
            peaks = (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()) if on_gpu else (0, 0)
            _append({"phase": phase, "start": start, "end": time.time(), "allocated": peaks[0], "reserved": peaks[1]})

    return measured


def _append(record: dict[str, Any]) -> None:
    # One write of one line: several processes append to the file.
    with open(os.environ[VARIABLE], "ab", buffering=0) as file:
        file.write(json.dumps(record).encode() + b"\n")


def _always(*arguments: Any, **named: Any) -> bool:
    return True


def _is_forward(self: Any, method_name: str, *arguments: Any, **named: Any) -> bool:
    return method_name == "forward"


def _records(owner: str, method: str, phase: str, when: Callable[..., bool] = _always) -> Callable[[ModuleType], None]:
    def after(module: ModuleType) -> None:
        kind = getattr(module, owner, None)
        if not hasattr(kind, method):
            raise PinnedSourceError(f"{module.__file__} is not the pinned version: there is no {owner}.{method}.")
        setattr(kind, method, _recorded(getattr(kind, method), phase, when))

    return after


def _both(*functions: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def after(module: ModuleType) -> None:
        for function in functions:
            function(module)

    return after


PATCHES = {
    "openrlhf.trainer.ppo_utils.samples_generator": Patch(
        after=_records("SamplesGenerator", "_generate_vllm", GENERATION)
    ),
    "openrlhf.trainer.ray.launcher": Patch(after=_records("BaseModelActor", "execute_batch", SCORING, _is_forward)),
    "openrlhf.trainer.ray.ppo_critic": Patch(after=_records("CriticPPOTrainer", "ppo_train", CRITIC)),
    "openrlhf.trainer.ray.ppo_actor": Patch(
        after=_both(
            _records("ActorPPOTrainer", "ppo_train", ACTOR), _records("ActorPPOTrainer", "broadcast_to_vllm", WEIGHTS)
        )
    ),
}
"""Module -> patch."""
