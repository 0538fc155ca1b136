"""The program in vLLM's process: it generates the missing answers of each model and writes them shard by shard.

It accepts all options of vLLM's engine in addition to its own, so that a step's command can be saved and run by hand.
"""

import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from medrlvr.config.machine import Machine
from medrlvr.evaluation.answer_store import missing_answers, requests_of
from medrlvr.evaluation.placement import SHARE
from medrlvr.evaluation.worker_group import claim
from medrlvr.grading.letters import letter_continuation
from medrlvr.runtime.files import read_parquet, write_parquet


def engine_arguments(machine: Machine, context_tokens: int, split: int = 1) -> list[str]:
    """Return the options of vLLM's engine.

    Args:
        context_tokens: maximum tokens of prompt and response; the engine rejects longer prompts, without truncation.
        split: number of GPUs among which the engine divides its weights.
    """
    on_cpu = machine.device == "cpu"
    values = {
        # A CPU without bfloat16 instructions is 2.5 times as fast in float32; a GPU uses the format of training.
        "dtype": "float32" if on_cpu else "bfloat16",
        "max-model-len": context_tokens,
        "gpu-memory-utilization": machine.vllm_memory_utilization if on_cpu else SHARE,
        "seed": 0,  # greedy decoding does not draw from it
        **({"tensor-parallel-size": split} if split > 1 else {}),
    }
    switches = ["--no-trust-remote-code", "--disable-log-stats", *(["--enforce-eager"] if on_cpu else [])]
    return [word for name, value in values.items() for word in (f"--{name}", str(value))] + switches


def worker_command(asked: Path, models: Sequence[Path], answers: Sequence[Path], engine: Sequence[str]) -> list[str]:
    """Return the command that generates the answers of `models`, each into its own folder of `answers`."""
    also = ["--also", *map(str, models[1:])] if models[1:] else []
    program = [sys.executable, "-m", "medrlvr.evaluation.vllm_worker", "--asked", str(asked)]
    return [*program, "--model", str(models[0]), *also, "--answers", *map(str, answers), *engine]


def main(arguments: list[str]) -> None:
    """Answer every prompt. Each shard is written as soon as it is complete, and is not generated again.

    The tables have a row for each prompt and sample: question_id, benchmark, mode, sample (from 0), response (text
    without special tokens), finish_reason ("stop" or "length"), prompt_tokens, response_tokens, hardware (name of the
    device), runner (vLLM's model runner, "V1" or "V2"), and letter_logprobs (natural logarithm, one per option).
    Log-likelihood answers have finish_reason "loglikelihood" and the most probable letter (the first among equals) as
    response. Only they have letter_logprobs.
    """
    # Garbage collection over the objects of 5,000 modules takes a quarter of the import time.
    gc.disable()
    from vllm import LLM, EngineArgs
    from vllm.platforms import current_platform
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    gc.freeze()
    gc.enable()
    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    parser.add_argument("--asked", type=Path, required=True)
    parser.add_argument("--answers", type=Path, nargs="+", required=True)
    parser.add_argument("--also", type=Path, nargs="+", default=[])
    parser.add_argument("--claims", type=Path)
    options = parser.parse_args(arguments)
    asked = read_parquet(options.asked)
    llm = LLM.from_engine_args(EngineArgs.from_cli_args(options))
    # vLLM chooses between two implementations, by device, model and the variable VLLM_USE_V2_MODEL_RUNNER.
    runner = "V2" if llm.llm_engine.vllm_config.use_v2_model_runner else "V1"
    made_by = {"hardware": current_platform.get_device_name(), "runner": runner}
    answered, loaded = 0, options.model
    for model, answers in zip([options.model, *options.also], options.answers, strict=True):
        own = requests_of(asked, model)
        missing = own[missing_answers(own, answers)]
        for shard, rows in missing.groupby("shard", sort=False):
            if not claim(options.claims, answers, str(shard)):
                continue
            if str(model) != str(loaded):
                llm.collective_rpc("reload_weights", kwargs={"weights_path": str(model)})
                loaded = model
            # A shard's answers do not depend on those that this engine gave before.
            llm.reset_prefix_cache()
            table = _generate(llm, rows)
            write_parquet(answers / f"{shard}.parquet", table.assign(**made_by))
            answered += len(table)
            print(f"answered {answered}", flush=True)


def _generate(llm: Any, requests: pd.DataFrame) -> pd.DataFrame:
    """Return the answers to the requests of one shard; `main` describes the columns."""
    from vllm.inputs import TokensPrompt

    tokenizer, rows = llm.get_tokenizer(), requests.to_dict("records")
    # As in training, no special tokens are added.
    tokens = [TokensPrompt(prompt_token_ids=tokenizer.encode(row["prompt"], add_special_tokens=False)) for row in rows]
    outputs = llm.generate(tokens, [_sampling(row) for row in rows])
    return pd.DataFrame(answer for row, output in zip(rows, outputs, strict=True) for answer in _answers(row, output))


def _sampling(row: Mapping[Any, Any]) -> Any:
    from vllm import SamplingParams

    if row["answer_format"] == "loglikelihood":
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
    if row["answer_format"] == "loglikelihood":
        found = output.outputs[0].logprobs[0]
        logprobs = [float(found[int(token)].logprob) for token in row["letter_tokens"]]
        best = max(range(len(logprobs)), key=logprobs.__getitem__)
        letter = letter_continuation(row["prompt"], best)
        how = {"response": letter, "finish_reason": "loglikelihood", "response_tokens": 1, "letter_logprobs": logprobs}
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
