"""Questions that an engine answers per second, with random weights of known shapes."""

import random
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from medrlvr.config.machine import Machine
from medrlvr.evaluation.vllm_worker import engine_arguments, worker_command
from medrlvr.gpu_check.random_model import shape_command
from medrlvr.gpu_check.rows import Figure, Measured
from medrlvr.models.shape import Shape, read_shape
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.files import write_parquet
from medrlvr.runtime.processes import run_process

PROMPT_TOKENS, LETTER_TOKENS, RESPONSE_TOKENS = 340, 8, 270
"""Tokens of a prompt, of a direct answer and of a chain of thought. The first and the last are those that
`medrlvr plan` assumes; random weights never end a response early."""

_DONE = re.compile(r"answered (\d+)")
_BACKEND = re.compile(r"Using (\S+) (?:attention )?backend|Using (V\d) model runner", re.IGNORECASE)


def random_text(tokens: int, source: random.Random) -> str:
    """Return text of this many tokens for the tokenizer of `random_model`, which has one token per ASCII character."""
    return "".join(source.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(tokens))


def requests(questions: int) -> pd.DataFrame:
    """Return requests in three shards: a few that warm the engine up, direct answers, and chains of thought.

    Args:
        questions: number of questions of the last two.
    """
    source = random.Random(1)
    parts = [("warm-up", 16, LETTER_TOKENS), ("direct", questions, LETTER_TOKENS)]
    parts += [("chain_of_thought", questions, RESPONSE_TOKENS)]
    rows = [
        {
            "question_id": f"{mode}-{number}",
            "benchmark": "random",
            "mode": mode,
            "shard": mode,
            "prompt": random_text(PROMPT_TOKENS, source),
            "max_tokens": tokens,
            "answer_format": "bare",
            "samples": 1,
            "temperature": 0.0,
            "seed": 0,
            "letter_tokens": [],
        }
        for mode, count, tokens in parts
        for number in range(count)
    ]
    return pd.DataFrame(rows)


def measure_answers(shapes: Mapping[str, Shape], questions: int, machine: Machine, folder: Path) -> Measured:
    """Measure the speed of each shape; the number of a shape's name is its TFLOP/s in the chains of thought.

    Args:
        shapes: name -> shape.
        questions: number of questions.
        folder: receives the models, which are kept for the next row, and the answers.

    Raises:
        UserError: a model could not be written, or an engine failed.
    """
    figures: list[Figure] = []
    numbers = {}
    asked = folder / "requests.parquet"
    write_parquet(asked, requests(questions))
    for name, shape in shapes.items():
        model = random_model(name, shape, machine, folder)
        watch = _Watch()
        engine = engine_arguments(machine, PROMPT_TOKENS + RESPONSE_TOKENS)
        answers = folder / f"answers-{name}-{time.time_ns()}"
        variables = process_environment(machine.device, machine.threads, folder / "cache")
        run_process(worker_command(asked, [model], [answers], engine), variables, watch, work="generation")
        times = watch.times
        figures += [Figure(f"{name}: seconds until the engine answers", f"{times[0] - watch.began:.0f}")]
        figures += [
            Figure(f"{name}, {mode}: questions per second", f"{questions / (end - start):.1f}")
            for mode, start, end in (("direct", times[0], times[1]), ("chain of thought", times[1], times[2]))
        ]
        tokens = questions * RESPONSE_TOKENS / (times[2] - times[1])
        figures.append(Figure(f"{name}, chain of thought: generated tokens per second", f"{tokens:,.0f}"))
        figures += [Figure(f"{name}: vLLM's choices", ", ".join(watch.choices) or "not reported")]
        operations = 2 * shape.parameters * questions * (PROMPT_TOKENS + RESPONSE_TOKENS)
        numbers[name] = operations / (times[2] - times[1]) / 1e12
    return Measured(figures, numbers)


def random_model(name: str, shape: Shape, machine: Machine, folder: Path) -> Path:
    """Return the folder of the random model of a shape; it is written if it does not exist or has another shape."""
    model = folder / name
    if not (model / "tokenizer.json").is_file() or read_shape(model) != shape:
        variables: Mapping[str, Any] = process_environment(machine.device, machine.threads, folder / "cache")
        run_process(shape_command(shape, model), variables, print, work="writing a model")
    return model


class _Watch:
    """Notes when the engine's process finished each shard, and what vLLM prints about its attention and its runner."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.times: list[float] = []
        self.choices: list[str] = []

    def __call__(self, line: str) -> None:
        print(line)
        if _DONE.fullmatch(line):
            self.times.append(time.monotonic())
        if found := _BACKEND.search(line):
            self.choices.append(next(filter(None, found.groups())))
