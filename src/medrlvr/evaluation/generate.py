"""Answers of one model to every benchmark and mode, with one vLLM engine."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from medrlvr.config import Machine


def generate_answers(
    model: str | Path,
    prompts: Mapping[str, pd.DataFrame],
    max_tokens: Mapping[str, int],
    prompt_max_tokens: int,
    seed: int,
    machine: Machine,
) -> pd.DataFrame:
    """Answer every prompt greedily and return one row per answer, in the order of the prompts.

    Args:
        model: folder with safetensors weights and a tokenizer.
        prompts: mode -> table with question_id, benchmark, prompt.
        max_tokens: mode -> most tokens of a response.
        prompt_max_tokens: the engine refuses a longer prompt rather than cut it.
        seed: recorded by the engine; greedy decoding does not draw from it.
        machine: where the engine runs.

    Returns:
        question_id, benchmark, mode, response (text without special tokens), finish_reason ("stop" or "length"),
        prompt_tokens and response_tokens.
    """
    from vllm import LLM, SamplingParams  # imports torch: 5 s that reading this module should not cost

    on_cpu = machine.device == "cpu"
    llm = LLM(
        model=str(model),
        trust_remote_code=False,
        seed=seed,
        # A CPU without bfloat16 instructions computes in float32, 2.5 times as fast; a GPU as the model was trained.
        dtype="float32" if on_cpu else "bfloat16",
        enforce_eager=on_cpu,
        gpu_memory_utilization=machine.vllm_memory_utilization,
        max_model_len=prompt_max_tokens + max(max_tokens[mode] for mode in prompts),
        disable_log_stats=True,
    )
    tokenizer = llm.get_tokenizer()
    tables = []
    for mode, table in prompts.items():
        sampling = SamplingParams(temperature=0.0, max_tokens=max_tokens[mode])
        # As in training: no token that the text does not hold.
        tokens = [tokenizer.encode(text, add_special_tokens=False) for text in table["prompt"]]
        outputs = llm.generate([{"prompt_token_ids": ids} for ids in tokens], sampling)
        tables.append(
            table[["question_id", "benchmark"]].assign(
                mode=mode,
                response=[output.outputs[0].text for output in outputs],
                finish_reason=[output.outputs[0].finish_reason for output in outputs],
                prompt_tokens=[len(output.prompt_token_ids or ()) for output in outputs],
                response_tokens=[len(output.outputs[0].token_ids) for output in outputs],
            )
        )
    return pd.concat(tables, ignore_index=True)
