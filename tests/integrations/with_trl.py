"""TRL 1: the golden cases through a real GRPOTrainer, and one training run of a tiny random model."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from golden import BARE, CASES, TAGGED, differing, example, expected, stated, write_questions
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from medrlvr.integrations.responses import SCORES
from medrlvr.integrations.trl_reward import trl_reward

TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
END = "<end>"


def byte_tokenizer(special: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of single bytes, with special tokens."""
    letters = {letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(letters, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token="<pad>", additional_special_tokens=special
    )


def tiny_model(folder: Path) -> None:
    tokenizer = byte_tokenizer([])
    torch.manual_seed(0)
    ends = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.eos_token_id}
    config = GPT2Config(vocab_size=len(tokenizer), n_positions=2048, n_embd=8, n_layer=1, n_head=1, **ends)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trl")
    tiny_model(folder / "model")
    return folder


def rewarded(
    folder: Path, cases: list[dict[str, Any]], encoder: PreTrainedTokenizerFast, chat: bool = False, **how: Any
) -> list[dict[str, Any]]:
    """What a real trainer receives for the cases, from token ids on."""
    columns = [{"prompt": "Q", "options": case["options"], "gold": case["gold"]} for case in cases]
    settings = GRPOConfig(output_dir=str(folder), report_to="none", use_cpu=True)
    function = trl_reward("paper", cases[0]["form"], **how)
    trainer = GRPOTrainer(str(folder / "model"), function, args=settings, train_dataset=Dataset.from_list(columns))
    ids = [
        encoder(case["response"] + ("" if case["truncated"] else END), add_special_tokens=False)["input_ids"]
        for case in cases
    ]
    texts: list[Any] = encoder.batch_decode(ids, skip_special_tokens=True)  # as GRPOTrainer does
    if chat:
        texts = [[{"role": "assistant", "content": text}] for text in texts]
    logged: dict[str, list[Any]] = {}
    trainer._log_completion_extra = lambda name, values: logged.setdefault(name, list(values))
    rewards = trainer._calculate_rewards(columns, ["Q"] * len(cases), texts, ids)
    means = {name: values[-1] for name, values in trainer._pending_metrics.items()}
    known = [expected(case) for case in cases]
    if how or not set(TAGS) & set(encoder.all_special_tokens):
        assert means == pytest.approx({name: sum(one[name] for one in known) / len(known) for name in SCORES})
    return [
        {"reward": float(reward), "letter": letter, "rule": rule}
        for reward, letter, rule in zip(rewards[:, 0], logged["letter"], logged["rule"], strict=True)
    ]


def encodable(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the responses that have lone surrogates, which no tokenizer returns."""
    return [case for case in cases if not re.search("[\ud800-\udfff]", case["response"])]


@pytest.mark.parametrize("chat", [False, True], ids=["text", "chat"])
@pytest.mark.parametrize("cases", [TAGGED, BARE], ids=["tagged", "bare"])
def test_all_cases_agree(folder: Path, cases: list[dict[str, Any]], chat: bool) -> None:
    assert differing(encodable(cases), rewarded(folder, encodable(cases), byte_tokenizer([]), chat)) == []


def test_the_cases_that_differ_if_the_tags_are_special_tokens(folder: Path) -> None:
    tokenizer, cases = byte_tokenizer(TAGS), encodable(TAGGED)
    without = differing(cases, rewarded(folder, cases, tokenizer))
    assert len(without) == stated("TRL: tags that are special tokens")
    assert differing(cases, rewarded(folder, cases, tokenizer, tokenizer=tokenizer)) == []


def test_a_tokenizer_gives_the_finish_reason(tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text(
        "def reward(grade):\n    return -2.0 if grade.truncated else float(grade.correct)\n"
    )
    tokenizer = byte_tokenizer([])
    response = "<think>a</think><answer>B</answer>"
    ids = [tokenizer(text)["input_ids"] for text in (response, response + END)]
    row = {"completions": [response] * 2, "completion_ids": ids, "options": [["x", "y"]] * 2, "gold": ["B", 1]}
    assert trl_reward(str(tmp_path / "reward.py"), tokenizer=tokenizer)(**row) == [-2.0, 1.0]
    assert trl_reward(str(tmp_path / "reward.py"))(**row) == [1.0, 1.0]
    assert sum(case["truncated"] for case in CASES) == stated("TRL, verl, lm-evaluation-harness")


def test_the_example_trains(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    write_questions(folder / "questions.jsonl")
    short = {"max_completion_length=1024": "max_completion_length=16, use_cpu=True, max_steps=2, report_to='none'"}
    text = example("TRL")
    for before, after in short.items():
        assert before in text
        text = text.replace(before, after)
    scope: dict[str, Any] = {}
    exec(text, scope)
    history = scope["trainer"].state.log_history
    assert scope["trainer"].state.global_step == 2
    assert history[-1]["step"] == 2 and {"reward", "valid_format"} <= set().union(*history)
