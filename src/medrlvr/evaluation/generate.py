"""Answers of models to prompts, by vLLM: a program of its own, so that a rule's command can be kept and run by hand.

Besides its own options it takes every option of vLLM's engine. Each model's answers are kept under a name made of what
decides them, so that a step that runs again for another reason, or goes on after an interruption, asks nobody twice.
"""

import hashlib
import re
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import pandas as pd

from medrlvr import environment, launch
from medrlvr.config import Machine
from medrlvr.files import read_parquet, write_parquet
from medrlvr.models import check_lengths
from medrlvr.progress import Progress

_BAR = re.compile(r"Processed prompts: +\d+%\|.*?\| (\d+)/(\d+) ")


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
) -> None:
    """Write the answers of `models`, and beside them what was asked and the command that asks it again by hand.

    Args:
        models: folders of one architecture: one engine loads them in turn.
        asked: question_id, benchmark, mode, prompt, max_tokens (of the response).
        folder: gets asked.parquet, command.sh and, when all is done, answers.parquet: the columns that `main`
            describes, and `model`, the folder of the model that gave the answer.
        prompt_max_tokens: the longest prompt allowed; none is cut.
        state: folder in which answers are kept, by what decides them.
        stage: what this is, for the console.
        say: prints a line for the person who waits.

    Raises:
        UserError: a prompt is too long, or the engine failed or was interrupted.
    """
    written = folder / "asked.parquet"
    write_parquet(written, asked)
    check_lengths(models[0], asked["prompt"].tolist(), prompt_max_tokens, "evaluation.prompt_max_tokens", written)
    context = prompt_max_tokens + int(asked["max_tokens"].max())
    engine = engine_arguments(machine, context)
    version = metadata.version(environment.ENGINE_PACKAGE[machine.device])
    deciding = [asked.to_json(), *engine_arguments(Machine(device=machine.device), context), version]
    kept = [state / f"answers-{_digest(deciding, model)}.parquet" for model in models]
    variables = environment.variables(machine, state)
    by_hand = [folder / f"by-hand-{number}.parquet" for number, _ in enumerate(models, 1)]
    launch.write_command(folder / "command.sh", command(written, models, by_hand, engine), variables)
    todo = {path: model for path, model in zip(kept, models, strict=True) if not path.is_file()}
    if todo:
        to_each = f" to each of {len(todo)} models" if len(todo) > 1 else ""
        say(f"{stage}: {len(asked):,} prompts{to_each}; starting vLLM")
        watch = reporter(Progress(stage, len(asked) * len(todo), unit="answer"), say)
        launch.run(command(written, [*todo.values()], [*todo], engine), variables, watch, work="generation")
    else:
        say(f"{stage}: the same weights were asked the same before")
    tables = [read_parquet(path).assign(model=str(model)) for path, model in zip(kept, models, strict=True)]
    write_parquet(folder / "answers.parquet", pd.concat(tables, ignore_index=True))


def _digest(deciding: Sequence[str], model: Path) -> str:
    digest = hashlib.sha256("\n".join(deciding).encode())
    for file in sorted([*model.glob("*.safetensors"), *model.glob("*.json")]):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:16]


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
    """Return what prints every line of vLLM, and says how far it is every `interval` seconds."""
    before, latest, said = 0, 0, time.monotonic()

    def each_line(line: str) -> None:
        nonlocal before, latest, said
        print(line)
        if not (match := _BAR.search(line)):
            return
        done, total = int(match[1]), int(match[2])
        if done < latest:  # the next model's bar
            before += total
        latest = done
        if time.monotonic() - said > interval:
            said = time.monotonic()
            say(progress.line(before + done))

    return each_line


def main(arguments: list[str]) -> None:
    """Answer every prompt greedily; each model's answers are a file as soon as they are there, one row per prompt.

    The table has question_id, benchmark, mode, response (text without special tokens), finish_reason ("stop" or
    "length"), prompt_tokens and response_tokens.
    """
    from vllm import LLM, EngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--answers", type=Path, nargs="+", required=True)
    parser.add_argument("--also", type=Path, nargs="+", default=[])
    options = parser.parse_args(arguments)
    asked = read_parquet(options.asked)
    llm = LLM.from_engine_args(EngineArgs.from_cli_args(options))
    tokenizer = llm.get_tokenizer()
    # As in training: no token that the text does not hold.
    tokens = [
        TokensPrompt(prompt_token_ids=tokenizer.encode(text, add_special_tokens=False)) for text in asked["prompt"]
    ]
    sampling = [SamplingParams(temperature=0.0, max_tokens=limit) for limit in asked["max_tokens"].tolist()]
    for number, (model, answers) in enumerate(zip([options.model, *options.also], options.answers, strict=True)):
        if number:
            llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model)})
            llm.reset_prefix_cache()
        outputs = llm.generate(tokens, sampling)
        table = asked[["question_id", "benchmark", "mode"]].assign(
            response=[output.outputs[0].text for output in outputs],
            finish_reason=[str(output.outputs[0].finish_reason) for output in outputs],
            prompt_tokens=[len(output.prompt_token_ids or ()) for output in outputs],
            response_tokens=[len(output.outputs[0].token_ids) for output in outputs],
        )
        write_parquet(answers, table)


if __name__ == "__main__":
    main(sys.argv[1:])
