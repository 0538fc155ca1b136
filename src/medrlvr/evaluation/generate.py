"""Answers of models to prompts, by vLLM: a program of its own, so that a rule's command can be kept and run by hand.

Besides its own options it takes every option of vLLM's engine. Answers are kept in shards, under a name made of what
decides them: a step that runs again for another reason, or goes on after an interruption, asks nobody twice, and a new
benchmark or mode asks only what is new.
"""

import gc
import hashlib
import json
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from medrlvr import environment, launch
from medrlvr.config import Machine, Mode
from medrlvr.files import read_parquet, write_json, write_parquet
from medrlvr.models import check_lengths, has_weights, letter_tokens, weights_digest
from medrlvr.progress import Progress
from medrlvr.prompts import letter_behind

SHARD_ANSWERS = 2048
"""At most so many answers of one benchmark and mode are lost by an interruption."""

_BAR = re.compile(r"Processed prompts: +\d+%\|.*?\| (\d+)/\d+ ")
_DONE = re.compile(r"answered (\d+)")
_DECIDING = ("question_id", "prompt", "answer", "max_tokens", "samples", "temperature", "seed", "letter_tokens")


def select(
    prompts: pd.DataFrame, sets: Mapping[str, Sequence[str]], settings: Mapping[str, Mode], seed: int
) -> pd.DataFrame:
    """Return what one model is asked, and how.

    Args:
        prompts: as `Renderer.asked` returns them.
        sets: benchmark, control or development -> modes in which it is asked.
        settings: of every mode.
        seed: of sampled answers; greedy ones do not depend on it.
    """
    wanted = [mode in sets.get(name, ()) for name, mode in zip(prompts["benchmark"], prompts["mode"], strict=True)]
    asked = prompts[wanted].reset_index(drop=True)
    how = asked["mode"].map(lambda mode: settings[mode])
    for name in ("answer", "max_tokens", "samples", "temperature"):
        asked[name] = [getattr(mode, name) for mode in how]
    return asked.assign(seed=asked["temperature"].gt(0) * seed)


def ask(
    models: Sequence[Path],
    asked: pd.DataFrame,
    folder: Path,
    machine: Machine,
    *,
    prompt_max_tokens: int,
    state: Path,
    stage: str,
    say: Callable[[str], None],
    also: Sequence[Path] = (),
) -> None:
    """Write the answers of `models`, and beside them what was asked and the command that asks it again by hand.

    Args:
        models: folders of one architecture: one engine loads them in turn. One whose weights were dropped has the
            answers that it gave before, of each benchmark and mode all or none.
        asked: as `select` returns it.
        folder: gets asked.parquet, command.sh and, when all is done, answers.parquet: the columns that `main`
            describes, and `model`, the folder of the model that gave the answer; and generation.json, with everything
            that affects a number.
        prompt_max_tokens: the longest prompt allowed; none is cut.
        state: folder in which answers are kept, by what decides them.
        stage: what this is, for the console.
        say: prints a line for the person who waits.
        also: further models of that architecture. The same engine evaluates them, and their answers are only cached:
            the call that writes them starts no engine.

    Raises:
        UserError: a prompt is too long, letters cannot be scored, or the engine failed or was interrupted.
    """
    packages = (environment.ENGINE_PACKAGE[machine.device], "torch", "transformers", "tokenizers")
    versions = {name: metadata.version(name) for name in packages}
    asked = asked.assign(letter_tokens=_letter_tokens(models[0], asked))
    # Of the engine's options only those that come from the device, not from the machine's size.
    deciding = [*engine_arguments(Machine(device=machine.device), 1), *versions.values()]
    asked = asked.assign(shard=_shards(asked, deciding))
    written = folder / "asked.parquet"
    write_parquet(written, asked)
    check_lengths(models[0], asked["prompt"].tolist(), prompt_max_tokens, "evaluation.prompt_max_tokens", written)
    engine = engine_arguments(machine, prompt_max_tokens + int(asked["max_tokens"].max()))
    weights = [weights_digest(model) for model in models]
    kept = [state / "answers" / digest for digest in weights]
    variables = environment.variables(machine, state)
    by_hand = [folder / f"by-hand-{number}" for number, _ in enumerate(models, 1)]
    launch.write_command(folder / "command.sh", command(written, models, by_hand, engine), variables)
    folders = dict(zip(kept, models, strict=True)) | {state / "answers" / weights_digest(one): one for one in also}
    missing = {path: int(asked.loc[_missing(asked, path), "samples"].sum()) for path in folders}
    todo = {path: model for path, model in folders.items() if missing[path] and has_weights(model)}
    silent = [model.name for path, model in zip(kept, models, strict=True) if missing[path] and not has_weights(model)]
    if silent:
        say(f"{stage}: the weights of {', '.join(silent)} were deleted; they are not asked what is new")
    if todo:
        of_each = f" of {len(todo)} models" if len(todo) > 1 else ""
        total = sum(missing[path] for path in todo)
        say(f"{stage}: {total:,} answers{of_each}; starting vLLM")
        watch = reporter(Progress(stage, total, unit="answer"), say)
        launch.run(command(written, [*todo.values()], [*todo], engine), variables, watch, work="generation")
    else:
        say(f"{stage}: the same weights were asked the same before")
    tables = [
        read_parquet(path / f"{shard}.parquet").assign(model=str(model))
        for path, model in zip(kept, models, strict=True)
        for shard in _answered(asked, path)
    ]
    answers = pd.concat(tables, ignore_index=True)
    write_json(folder / "generation.json", _circumstances(asked, answers, machine, versions, engine, weights))
    write_parquet(folder / "answers.parquet", answers)


def _letter_tokens(model: Path, asked: pd.DataFrame) -> pd.Series:
    scored = asked[asked["answer"] == "constrained"]
    tokens = dict(zip(scored.index, letter_tokens(model, [*scored["prompt"]], [*scored["options"]]), strict=True))
    return pd.Series([tokens.get(row, []) for row in asked.index], index=asked.index)


def _shards(asked: pd.DataFrame, deciding: Sequence[str]) -> pd.Series:
    """Return the name of the file that each row's answers will be in."""
    names = pd.Series("", index=asked.index)
    for (_, mode), group in asked.groupby(["benchmark", "mode"], sort=False):
        rows = max(1, SHARD_ANSWERS // int(group["samples"].iloc[0]))
        for start in range(0, len(group), rows):
            part = group.iloc[start : start + rows]
            text = "\n".join([*deciding, str(mode), part[[*_DECIDING]].to_json(orient="values")])
            names[part.index] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return names


def _missing(asked: pd.DataFrame, answers: Path) -> pd.Series:
    there = [shard for shard in asked["shard"].unique() if (answers / f"{shard}.parquet").is_file()]
    return ~asked["shard"].isin(there)


def _answered(asked: pd.DataFrame, answers: Path) -> list[str]:
    """Return the shards of each benchmark and mode that is answered whole."""
    missing = _missing(asked, answers).groupby([asked["benchmark"], asked["mode"]]).transform("any")
    return [*asked.loc[~missing, "shard"].unique()]


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
    how = first[["template", "answer", "max_tokens", "samples", "temperature", "seed"]]
    return {
        "device": machine.device,
        "hardware": sorted(answers["hardware"].unique()),
        "engine": list(engine),
        "versions": {**versions, "python": platform.python_version()},
        "weights": list(weights),
        "modes": json.loads(how.to_json(orient="index")),
        "answers": len(answers),
        "truncated": int((answers["finish_reason"] == "length").sum()),
    }


def engine_arguments(machine: Machine, context_tokens: int) -> list[str]:
    """Return vLLM's own options.

    Args:
        context_tokens: prompt and response; the engine refuses a longer prompt rather than cut it.
    """
    on_cpu = machine.device == "cpu"
    values = {
        # A CPU without bfloat16 instructions computes in float32, 2.5 times as fast; a GPU as the model was trained.
        "dtype": "float32" if on_cpu else "bfloat16",
        "max-model-len": context_tokens,
        "gpu-memory-utilization": machine.vllm_memory_utilization,
        "seed": 0,  # greedy decoding does not draw from it
    }
    switches = ["--no-trust-remote-code", "--disable-log-stats", *(["--enforce-eager"] if on_cpu else [])]
    return [word for name, value in values.items() for word in (f"--{name}", str(value))] + switches


def command(asked: Path, models: Sequence[Path], answers: Sequence[Path], engine: Sequence[str]) -> list[str]:
    """Return the command that asks `models` and writes the answers of each to its own file of `answers`."""
    also = ["--also", *map(str, models[1:])] if models[1:] else []
    program = [sys.executable, "-m", "medrlvr.evaluation.generate", "--asked", str(asked)]
    return [*program, "--model", str(models[0]), *also, "--answers", *map(str, answers), *engine]


def reporter(progress: Progress, say: Callable[[str], None], interval: float = 20.0) -> Callable[[str], None]:
    """Return what prints every line of the program, and says how far it is every `interval` seconds."""
    before, said = 0, time.monotonic()

    def each_line(line: str) -> None:
        nonlocal before, said
        print(line)
        done = 0
        if shard := _DONE.fullmatch(line):
            before = int(shard[1])
        elif bar := _BAR.search(line):
            done = int(bar[1])
        else:
            return
        if time.monotonic() - said > interval:
            said = time.monotonic()
            say(progress.line(min(before + done, progress.total)))

    return each_line


def main(arguments: list[str]) -> None:
    """Answer every prompt; a shard of a model's answers is a file as soon as it is there, and is not asked again.

    The tables have a row for each prompt and sample: question_id, benchmark, mode, sample (from 0), response (text
    without special tokens), finish_reason ("stop" or "length"), prompt_tokens, response_tokens, hardware (name of the
    device), and letter_logprobs (natural logarithm, one per option). Constrained answers have finish_reason
    "constrained", the most probable letter as response, of equals the first, and are the only ones with
    letter_logprobs.
    """
    # Walking the objects of 5,000 modules again and again takes a quarter of their import.
    gc.disable()
    from vllm import LLM, EngineArgs
    from vllm.inputs import TokensPrompt
    from vllm.platforms import current_platform
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    gc.freeze()
    gc.enable()
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--answers", type=Path, nargs="+", required=True)
    parser.add_argument("--also", type=Path, nargs="+", default=[])
    options = parser.parse_args(arguments)
    asked = read_parquet(options.asked)
    llm = LLM.from_engine_args(EngineArgs.from_cli_args(options))
    tokenizer = llm.get_tokenizer()
    answered = 0
    for number, (model, answers) in enumerate(zip([options.model, *options.also], options.answers, strict=True)):
        if number:
            llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model)})
            llm.reset_prefix_cache()
        missing = asked[_missing(asked, answers)]
        for shard, rows in missing.groupby("shard", sort=False):
            # As in training: no token that the text does not hold.
            tokens = [
                TokensPrompt(prompt_token_ids=tokenizer.encode(text, add_special_tokens=False))
                for text in rows["prompt"]
            ]
            outputs = llm.generate(tokens, [_sampling(row) for row in rows.to_dict("records")])
            table = pd.DataFrame(
                answer
                for row, output in zip(rows.to_dict("records"), outputs, strict=True)
                for answer in _answers(row, output)
            )
            write_parquet(answers / f"{shard}.parquet", table.assign(hardware=current_platform.get_device_name()))
            answered += len(table)
            print(f"answered {answered}", flush=True)


def _sampling(row: Mapping[Any, Any]) -> Any:
    from vllm import SamplingParams

    if row["answer"] == "constrained":
        letters = [int(token) for token in row["letter_tokens"]]
        return SamplingParams(temperature=0.0, max_tokens=1, logprob_token_ids=letters)
    return SamplingParams(
        temperature=row["temperature"],
        max_tokens=row["max_tokens"],
        n=row["samples"],
        seed=row["seed"] if row["temperature"] else None,
    )


def _answers(row: Mapping[Any, Any], output: Any) -> list[dict[str, Any]]:
    """Return the rows of one prompt's answers from vLLM's output."""
    asked = {name: row[name] for name in ("question_id", "benchmark", "mode")}
    prompt_tokens = len(output.prompt_token_ids or ())
    if row["answer"] == "constrained":
        found = output.outputs[0].logprobs[0]
        logprobs = [float(found[int(token)].logprob) for token in row["letter_tokens"]]
        best = max(range(len(logprobs)), key=logprobs.__getitem__)
        letter = letter_behind(row["prompt"], best)
        how = {"response": letter, "finish_reason": "constrained", "response_tokens": 1, "letter_logprobs": logprobs}
        return [{**asked, "sample": 0, "prompt_tokens": prompt_tokens, **how}]
    return [
        {
            **asked,
            "sample": sample,
            "prompt_tokens": prompt_tokens,
            "response": one.text,
            "finish_reason": str(one.finish_reason),
            "response_tokens": len(one.token_ids),
            "letter_logprobs": [],
        }
        for sample, one in enumerate(output.outputs)
    ]


if __name__ == "__main__":
    main(sys.argv[1:])
