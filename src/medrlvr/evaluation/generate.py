"""Answers of models to prompts, by vLLM: a program of its own, so that a rule's command can be kept and run by hand.

Besides its own three options it takes every option of vLLM's engine.
"""

import re
import sys
import time
from collections.abc import Callable, Sequence
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
    seed: int,
    cache: Path,
    stage: str,
    say: Callable[[str], None],
) -> None:
    """Write the answers of `models`, and beside them what was asked and the command that asks it again by hand.

    Args:
        models: folders of one architecture: one engine loads them in turn.
        asked: question_id, benchmark, mode, prompt, max_tokens (of the response).
        folder: gets asked.parquet, command.sh and, when all is done, answers.parquet, as `main` describes it.
        prompt_max_tokens: the longest prompt allowed; none is cut.
        seed: recorded by the engine; greedy decoding does not draw from it.
        cache: folder for what libraries keep.
        stage: what this is, for the console.
        say: prints a line for the person who waits.

    Raises:
        UserError: a prompt is too long, or the engine failed or was interrupted.
    """
    written, answers = folder / "asked.parquet", folder / "answers.parquet"
    key = "evaluation.prompt_max_tokens"
    write_parquet(written, asked)
    check_lengths(models[0], asked["prompt"].tolist(), prompt_max_tokens, key, written)
    context = prompt_max_tokens + int(asked["max_tokens"].max())
    engine = engine_arguments(models[0], machine, context, seed)
    variables = environment.variables(machine, cache)
    by_hand = command(written, folder / "answers-by-hand.parquet", models, engine)
    launch.write_command(folder / "command.sh", by_hand, variables)
    say(f"{stage}: {len(asked):,} prompts{f' to each of {len(models)} models' if models[1:] else ''}; starting vLLM")
    watch = reporter(Progress(stage, len(asked) * len(models), unit="answer"), say)
    launch.run(command(written, answers, models, engine), variables, watch, work="generation")


def engine_arguments(model: Path, machine: Machine, context_tokens: int, seed: int) -> list[str]:
    """Return vLLM's own options.

    Args:
        context_tokens: prompt and response; the engine refuses a longer prompt rather than cut it.
        seed: as in `ask`.
    """
    on_cpu = machine.device == "cpu"
    values = {
        "model": model,
        # A CPU without bfloat16 instructions computes in float32, 2.5 times as fast; a GPU as the model was trained.
        "dtype": "float32" if on_cpu else "bfloat16",
        "max-model-len": context_tokens,
        "gpu-memory-utilization": machine.vllm_memory_utilization,
        "seed": seed,
    }
    switches = ["--no-trust-remote-code", "--disable-log-stats", *(["--enforce-eager"] if on_cpu else [])]
    return [word for name, value in values.items() for word in (f"--{name}", str(value))] + switches


def command(asked: Path, answers: Path, models: Sequence[Path], engine: Sequence[str]) -> list[str]:
    """Return the command that writes the answers of `models`, the first of which `engine` names."""
    also = ["--also", *map(str, models[1:])] if models[1:] else []
    program = [sys.executable, "-m", "medrlvr.evaluation.generate"]
    return [*program, "--asked", str(asked), "--answers", str(answers), *also, *engine]


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
    """Answer every prompt greedily; one row per model and prompt, in that order.

    The table has model (its folder), question_id, benchmark, mode, response (text without special tokens),
    finish_reason ("stop" or "length"), prompt_tokens and response_tokens.
    """
    from vllm import LLM, EngineArgs, SamplingParams
    from vllm.inputs import TokensPrompt
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--answers", type=Path, required=True)
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
    tables: list[pd.DataFrame] = []
    for model in [options.model, *options.also]:
        if tables:
            llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model)})
            llm.reset_prefix_cache()
        outputs = llm.generate(tokens, sampling)
        tables.append(
            asked[["question_id", "benchmark", "mode"]].assign(
                model=str(model),
                response=[output.outputs[0].text for output in outputs],
                finish_reason=[str(output.outputs[0].finish_reason) for output in outputs],
                prompt_tokens=[len(output.prompt_token_ids or ()) for output in outputs],
                response_tokens=[len(output.outputs[0].token_ids) for output in outputs],
            )
        )
    write_parquet(options.answers, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    main(sys.argv[1:])
