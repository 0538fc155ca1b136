"""verl 0.9: the golden cases through its loader and its reward manager, from token ids on."""

import asyncio
from typing import Any

import numpy as np
import pytest
import torch
from golden import BARE, CASES, TAGGED, differing, example, expected, stated
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl import DataProto
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
from verl.trainer.ppo.reward import get_custom_reward_fn

from medrlvr.integrations.responses import SCORES

TAGS = ["<think>", "</think>", "<answer>", "</answer>"]


class Characters:
    """A tokenizer of single characters; special tokens are left out as tokenizers leave them out."""

    def __init__(self, special: list[str]) -> None:
        self.special = special

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decode(self, ids: torch.Tensor, skip_special_tokens: bool = False) -> str:
        text = "".join(map(chr, ids.tolist()))
        for tag in self.special if skip_special_tokens else ():
            text = text.replace(tag, "")
        return text


def compute_score(**settings: Any) -> Any:
    function = {"path": "pkg://medrlvr.integrations.verl_reward", "name": "compute_score", "reward_kwargs": settings}
    return get_custom_reward_fn(OmegaConf.create({"reward": {"custom_reward_function": function}}))


def managed(cases: list[dict[str, Any]], tokenizer: Characters, **settings: Any) -> list[dict[str, Any]]:
    """What verl's own reward manager returns for each case."""

    async def all_of_them() -> list[dict[str, Any]]:
        manager = NaiveRewardManager(OmegaConf.create({}), tokenizer, compute_score(**settings))
        return [await manager.run_single(batch(case, tokenizer)) for case in cases]

    results = asyncio.run(all_of_them())
    return [
        {"reward": one["reward_score"]} | {name: one["reward_extra_info"][name] for name in SCORES} for one in results
    ]


def batch(case: dict[str, Any], tokenizer: Characters) -> DataProto:
    """One response with two tokens of padding."""
    ids = tokenizer.encode(case["response"])
    tensors = {
        "responses": torch.tensor([[*ids, 0, 0]]),
        "prompts": torch.tensor([[81]]),
        "attention_mask": torch.tensor([[1] * (1 + len(ids)) + [0, 0]]),
    }
    columns = {
        "data_source": np.array(["golden"], dtype=object),
        "reward_model": np.array([{"ground_truth": case["gold"]}], dtype=object),
        # Parquet files return a list as an array.
        "extra_info": np.array([{"options": np.array(case["options"], dtype=object)}], dtype=object),
    }
    return DataProto(batch=TensorDict(tensors, batch_size=[1]), non_tensor_batch=columns)


@pytest.mark.parametrize("cases", [TAGGED, BARE], ids=["tagged", "bare"])
def test_all_cases_agree(cases: list[dict[str, Any]]) -> None:
    assert differing(cases, managed(cases, Characters([]), answer_format=cases[0]["form"])) == []
    assert sum(case["truncated"] for case in CASES) == stated("TRL, verl, lm-evaluation-harness")


def test_the_cases_that_differ_if_the_tags_are_special_tokens() -> None:
    assert len(differing(TAGGED, managed(TAGGED, Characters(TAGS)))) == stated("verl: tags that are special tokens")


def test_a_reward_with_weights_and_a_prefix_come_from_verls_configuration() -> None:
    score = compute_score(
        reward={"paper": 1, "short_cot_penalty": {"weight": 0.5, "least_chars": 50}}, prefix="<think>"
    )
    row = {"data_source": "medqa", "ground_truth": "B", "extra_info": {"options": ["x", "y"]}}
    assert score(solution_str="a</think><answer>B</answer>", **row)["score"] == 0.5


def test_the_example_runs() -> None:
    scope: dict[str, Any] = {}
    exec(example("verl"), scope)
    assert set(scope["found"]) == {"score", *SCORES} < {"score", *expected(CASES[0])}
