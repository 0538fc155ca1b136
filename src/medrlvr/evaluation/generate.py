"""Generate the answers of several models with vLLM, and reuse cached answers.

On GPUs, each GPU of the node runs a vLLM process, and they divide the shards among themselves. A shard's answers do not
depend on the process that generates it, nor on the number of processes. A rerun generates only missing answers; a new
benchmark or mode generates only its own. `answer_store` contains the cache, `placement` the number of processes,
`worker_group` the program that runs several, and `vllm_worker` the program that runs in vLLM's process.
"""

import json
import platform
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from medrlvr.config.machine import Machine
from medrlvr.evaluation.answer_store import (
    ANSWER_TYPES,
    complete_shards,
    missing_answers,
    requests_of,
    shard_names,
)
from medrlvr.evaluation.placement import Placement, place_engines
from medrlvr.evaluation.vllm_worker import engine_arguments, worker_command
from medrlvr.evaluation.worker_group import group_command
from medrlvr.models.folder import has_weights, weights_digest
from medrlvr.models.shape import Shape, read_shape
from medrlvr.models.tokens import check_lengths, letter_tokens
from medrlvr.runtime.environment import ENGINE_PACKAGE, process_environment
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import empty_table, read_parquet, write_json, write_parquet
from medrlvr.runtime.gpu_cache import repair_caches
from medrlvr.runtime.gpu_preflight import check_job
from medrlvr.runtime.processes import run_process, write_command
from medrlvr.runtime.progress import Progress
from medrlvr.runtime.step_log import Notify

_BAR = re.compile(r"Processed prompts: +\d+%\|.*?\| (\d+)/\d+ ")
_DONE = re.compile(r"answered (\d+)")
_WORKER = re.compile(r"worker (\d+): (.*)")


def generate_answers(
    models: Sequence[Path],
    asked: pd.DataFrame,
    folder: Path,
    machine: Machine,
    *,
    prompt_max_tokens: int,
    state: Path,
    display_name: str,
    notify: Notify,
    also: Sequence[Path] = (),
) -> None:
    """Write the answers of `models`, the requests, and the command that repeats the generation by hand.

    Args:
        models: model folders of one architecture; an engine loads them in turn. A model whose weights were deleted has
            only its cached answers: for each benchmark and mode, all or none.
        asked: requests, as `build_requests` returns them; with a column `model`, each model answers only its own.
            Without any request, no engine is started and the tables are empty.
        folder: output folder. It receives requests.parquet, command.sh (with one engine) and, at the end,
            generation.json (everything that affects a number) and answers.parquet: the columns that `vllm_worker.main`
            describes, and `model`, the folder of the model that gave the answer.
        prompt_max_tokens: maximum tokens of a prompt; longer prompts raise an error and are not truncated.
        state: folder of the answer cache.
        display_name: name of the step in progress lines.
        notify: prints a progress line.
        also: further models of the same architecture. The same engine evaluates them, but their answers are only
            cached. A later call for these models writes the answers without starting an engine.

    Raises:
        UserError: a prompt is too long, letters cannot be scored, there is neither a model with weights nor a cached
            answer, or the engine failed or was interrupted.
    """
    versions = {
        name: metadata.version(name) for name in (ENGINE_PACKAGE[machine.device], "torch", "transformers", "tokenizers")
    }
    requests = folder / "requests.parquet"
    asked = _with_shards(asked, models[0], machine.device, versions)
    types = dict.fromkeys(asked.columns, pa.string()) | {"letter_tokens": pa.list_(pa.int64())}
    write_parquet(requests, asked, types)
    check_lengths(models[0], asked["prompt"].tolist(), prompt_max_tokens, "evaluation.prompt_max_tokens", requests)
    engine = _describe_engine(models[0], asked, machine, prompt_max_tokens, state)
    by_hand = [folder / f"by-hand-{number}" for number, _ in enumerate(models, 1)]
    write_command(folder / "command.sh", worker_command(requests, models, by_hand, engine.options), engine.variables)
    weights = [weights_digest(model) for model in models]
    cached = [(state / "answers" / digest, model) for digest, model in zip(weights, models, strict=True)]
    others = {state / "answers" / weights_digest(model): model for model in also}
    missing = _missing(asked, dict(cached) | others)
    deleted = [model.name for path, model in cached if path in missing and not has_weights(model)]
    if deleted:
        notify(f"{display_name}: the weights of {', '.join(deleted)} were deleted; their new requests are skipped")
    run = {path: model for path, model in (dict(cached) | others).items() if path in missing and has_weights(model)}
    if run:
        progress = Progress(display_name, sum(missing[path] for path in run), unit="answer")
        _run_engine(engine, requests, asked, run, machine, progress, notify)
    else:
        notify(f"{display_name}: {'all answers are cached' if len(asked) else 'no answers are requested'}")
    answers = _collect(asked, cached)
    write_json(folder / "generation.json", _circumstances(asked, answers, machine, versions, engine.options, weights))
    write_parquet(folder / "answers.parquet", answers, ANSWER_TYPES)


@dataclass(frozen=True)
class _Engine:
    """How vLLM is started: its options, the variables of its process, and the number of processes and GPUs."""

    options: list[str]
    variables: dict[str, str]
    placement: Placement


def _describe_engine(
    model: Path, asked: pd.DataFrame, machine: Machine, prompt_max_tokens: int, state: Path
) -> _Engine:
    context_tokens = prompt_max_tokens + max(asked["max_tokens"], default=0)
    placement = place_engines(machine, _shape(model), context_tokens)
    options = [*engine_arguments(machine, context_tokens, placement.split), *_sampling_arguments(asked, machine)]
    return _Engine(options, process_environment(machine.device, machine.threads, state), placement)


def _run_engine(
    engine: _Engine,
    requests: Path,
    asked: pd.DataFrame,
    models: Mapping[Path, Path],
    machine: Machine,
    progress: Progress,
    notify: Notify,
) -> None:
    """Generate the missing answers of `models` (cache folder -> model) into their cache folders."""
    split = engine.placement.split
    if machine.device == "gpu":
        check_job(
            progress.display_name, engine.placement.engines * split, machine.gpu_gib, compiles=False, notify=notify
        )
    answers = f"{progress.total:,} answer{'s' * (progress.total > 1)}"
    of_each = f" of {len(models)} models" if len(models) > 1 else ""
    notify(f"{progress.display_name}: {answers}{of_each}; starting vLLM")
    watch = reporter(progress, notify)
    repair_caches(engine.variables)
    command = worker_command(requests, [*models.values()], [*models], engine.options)
    shards = sum(_missing_requests(asked, path, model)["shard"].nunique() for path, model in models.items())
    command = group_command(command, min(engine.placement.engines, shards), split)
    run_process(command, engine.variables, watch, work="generation")


def _sampling_arguments(asked: pd.DataFrame, machine: Machine) -> list[str]:
    """Return the engine's options that sampled answers need on a CPU.

    If vLLM 0.29 divides a prompt among two steps, it moves the offset of the request's random numbers back, and a
    generator on a CPU has none ("CPU Generator does not use offset").
    """
    sampled = machine.device == "cpu" and bool(asked["temperature"].gt(0).any())
    return ["--no-enable-chunked-prefill"] if sampled else []


def _shape(model: Path) -> Shape | None:
    """Return the model's shape; None for a type of model whose shape is unknown."""
    try:
        return read_shape(model)
    except UserError:
        return None


def _with_shards(
    asked: pd.DataFrame, model: Path, device: Literal["cpu", "gpu"], versions: Mapping[str, str]
) -> pd.DataFrame:
    """Return the requests with the tokens of their option letters and the name of their answers' shard."""
    asked = asked.assign(letter_tokens=_letter_tokens(model, asked))
    # Only the engine options that depend on the device, not on the machine's size.
    return asked.assign(shard=shard_names(asked, [*engine_arguments(Machine(device=device), 1), *versions.values()]))


def _missing_requests(asked: pd.DataFrame, path: Path, model: Path) -> pd.DataFrame:
    own = requests_of(asked, model)
    return own[missing_answers(own, path)]


def _missing(asked: pd.DataFrame, folders: Mapping[Path, Path]) -> dict[Path, int]:
    """Return the cache folders (folder -> model) that lack answers, and the number of missing answers in each."""
    missing = {path: int(_missing_requests(asked, path, model)["samples"].sum()) for path, model in folders.items()}
    return {path: answers for path, answers in missing.items() if answers}


def _collect(asked: pd.DataFrame, cached: Sequence[tuple[Path, Path]]) -> pd.DataFrame:
    """Return the answers of each (cache folder, model folder), for all completely cached benchmarks and modes.

    The table is empty if no model with weights has a request.

    Raises:
        UserError: there are no answers, and no model has weights.
    """
    tables = [
        read_parquet(path / f"{shard}.parquet").assign(model=str(model))
        for path, model in cached
        for shard in complete_shards(requests_of(asked, model), path)
    ]
    if not tables and not any(has_weights(model) for _, model in cached):
        raise UserError(
            f"{', '.join(str(model) for _, model in cached)}: the weights were deleted, and no answers are cached."
            " Restore the weights, or train again."
        )
    return pd.concat(tables, ignore_index=True) if tables else empty_table(ANSWER_TYPES)


def _letter_tokens(model: Path, asked: pd.DataFrame) -> pd.Series:
    scored = asked[asked["answer_format"] == "loglikelihood"]
    tokens = dict(zip(scored.index, letter_tokens(model, [*scored["prompt"]], [*scored["options"]]), strict=True))
    return pd.Series([tokens.get(row, []) for row in asked.index], index=asked.index)


def _circumstances(
    asked: pd.DataFrame,
    answers: pd.DataFrame,
    machine: Machine,
    versions: Mapping[str, str],
    engine: Sequence[str],
    weights: Sequence[str],
) -> dict[str, Any]:
    """Return everything that affects a number, ready for JSON."""
    first = asked.drop_duplicates("mode").set_index("mode")
    how = first[["template", "answer_format", "max_tokens", "samples", "temperature"]]
    return {
        "device": machine.device,
        "hardware": sorted(answers["hardware"].unique()),
        # Answers that an earlier version cached do not name it.
        "runner": sorted(answers["runner"].dropna().unique()) if "runner" in answers else [],
        "engine": list(engine),
        "versions": {**versions, "python": platform.python_version()},
        "weights": list(weights),
        "modes": json.loads(how.to_json(orient="index")),
        "answers": len(answers),
        "truncated": int((answers["finish_reason"] == "length").sum()),
    }


def reporter(progress: Progress, notify: Notify, interval: float = 20.0) -> Callable[[str], None]:
    """Return a callback that prints every line of the program, and reports its progress every `interval` seconds."""
    finished: dict[str, int] = {}  # worker -> its answers in finished shards
    current: dict[str, int] = {}  # worker -> its answers in the shard that it is generating
    said = time.monotonic()

    def each_line(line: str) -> None:
        nonlocal said
        print(line)
        named = _WORKER.fullmatch(line)
        worker, text = (named[1], named[2]) if named else ("", line)
        if shard := _DONE.fullmatch(text):
            finished[worker], current[worker] = int(shard[1]), 0
        elif bar := _BAR.search(text):
            current[worker] = int(bar[1])
        else:
            return
        if time.monotonic() - said > interval:
            said = time.monotonic()
            notify(progress.line(min(sum(finished.values()) + sum(current.values()), progress.total)))

    return each_line
