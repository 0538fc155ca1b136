"""Inspect 0.3 and lighteval 0.13: the golden cases through an evaluation, and through Inspect's OpenAI parser."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from golden import BARE, TAGGED, differing, example, stated, write_questions
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ModelName, ModelOutput, get_model
from inspect_ai.model._openai import chat_choices_from_openai
from inspect_ai.model._providers.mockllm import MockLLM
from inspect_ai.scorer import Score, Target
from inspect_ai.solver import TaskState
from lighteval.main_inspect import get_inspect_ai_task
from lighteval.tasks.registry import Registry
from openai.types.chat import ChatCompletion

from medrlvr.integrations.inspect_task import mcqa, mcqa_scorer, record_to_sample
from medrlvr.integrations.questions import gold_letter
from medrlvr.integrations.responses import SCORES


@pytest.fixture(autouse=True)
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mock model counts tokens with a vocabulary that it downloads."""

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(MockLLM, "_ensure_default_usage", nothing)


def outputs(cases: list[dict[str, Any]]) -> list[ModelOutput]:
    stops = ["max_tokens" if case["truncated"] else "stop" for case in cases]
    return [ModelOutput.from_content("mock", case["response"], stop) for case, stop in zip(cases, stops, strict=True)]


def from_server(case: dict[str, Any]) -> ModelOutput:
    """A response as Inspect reads it from an OpenAI-compatible server, such as vLLM's."""
    message = {"role": "assistant", "content": case["response"]}
    reason = "length" if case["truncated"] else "stop"
    choice = {"index": 0, "finish_reason": reason, "message": message}
    completion = {"id": "1", "created": 0, "model": "m", "object": "chat.completion", "choices": [choice]}
    choices = chat_choices_from_openai(ChatCompletion.model_validate(completion), [])
    return ModelOutput(model="m", choices=choices)


def evaluated(cases: list[dict[str, Any]], returned: list[ModelOutput], folder: Path) -> list[Score]:
    samples = [record_to_sample(case | {"prompt": str(n), "question_id": str(n)}) for n, case in enumerate(cases)]
    replies = {str(n): output for n, output in enumerate(returned)}
    model = get_model("mockllm/model", custom_outputs=lambda messages, *_: replies[messages[-1].text], memoize=False)
    task = Task(dataset=samples, scorer=mcqa_scorer(cases[0]["form"]))
    (log,) = eval(task, model, log_dir=str(folder), display="none", log_realtime=False)
    assert log.status == "success", log.error
    scores = {sample.id: sample.scores["mcqa_scorer"] for sample in log.samples}
    return [scores[str(n)] for n in range(len(cases))]


def scored(case: dict[str, Any], output: ModelOutput) -> Score:
    given = {"model": ModelName("mockllm/model"), "sample_id": 1, "epoch": 1, "input": "", "messages": []}
    state = TaskState(**given, choices=case["options"], output=output)
    return asyncio.run(mcqa_scorer()(state, Target(gold_letter(case))))


def found(score: Score) -> dict[str, Any]:
    assert score.answer == score.metadata["letter"]
    return {name: score.metadata[name] for name in ("letter", "rule", "truncated")} | score.value


@pytest.mark.parametrize("cases", [TAGGED, BARE], ids=["tagged", "bare"])
def test_all_cases_agree_in_an_evaluation(cases: list[dict[str, Any]], tmp_path: Path) -> None:
    scores = evaluated(cases, outputs(cases), tmp_path)
    assert differing(cases, map(found, scores)) == []
    assert {score.metadata["truncated"] for score in scores} == {case["truncated"] for case in cases}


def test_the_cases_that_differ_after_inspect_has_parsed_the_think_block() -> None:
    returned = [from_server(case) for case in TAGGED]
    changed = [case for case, output in zip(TAGGED, returned, strict=True) if output.completion != case["response"]]
    assert len(changed) > 200
    reasons = differing(TAGGED, (found(scored(*pair)) for pair in zip(TAGGED, returned, strict=True)))
    print(*reasons, sep="\n")
    assert len(reasons) == stated("Inspect, OpenAI-compatible servers")


def test_the_task_reads_questions_and_reports_each_score(tmp_path: Path) -> None:
    write_questions(tmp_path / "questions.jsonl")
    replies = ["<think>a</think><answer>B</answer>", "The answer is A."]
    model = get_model("mockllm/model", custom_outputs=[ModelOutput.from_content("mock", text) for text in replies])
    (log,) = eval(mcqa(str(tmp_path / "questions.jsonl")), model, log_dir=str(tmp_path), display="none", max_samples=1)
    assert log.samples[0].input.endswith("Options:\nA. insulin\nB. sumatriptan\nAssistant:")
    means = {score.name: score.metrics["accuracy"].value for score in log.results.scores}
    assert means == {"correct": 0.5, "lenient_correct": 1.0, "valid_format": 0.5, "strict_format": 0.5}


def test_the_opening_that_a_chat_template_writes_is_restored(tmp_path: Path) -> None:
    sample = Sample(input="a", choices=["x", "y"], target="B")
    model = get_model("mockllm/model", custom_outputs=[ModelOutput.from_content("mock", "a</think><answer>B</answer>")])
    task = Task(dataset=[sample], scorer=mcqa_scorer(prefix="<think>"))
    (log,) = eval(task, model, log_dir=str(tmp_path), display="none")
    assert log.samples[0].scores["mcqa_scorer"].value["valid_format"] == 1.0


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path / "questions.jsonl")
    scope: dict[str, Any] = {}
    exec(example("Inspect"), scope)
    assert scope["log"].status == "success"
    assert [score.name for score in scope["log"].results.scores] == [*SCORES]


def test_the_example_for_lighteval_is_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    (tmp_path / "questions").mkdir()
    write_questions(tmp_path / "questions/questions.jsonl")
    (tmp_path / "my_tasks.py").write_text(example("lighteval"), encoding="utf-8")
    # Not a whole registry, which downloads files of lighteval's own tasks.
    (config,) = Registry.create_custom_tasks_module(str(tmp_path / "my_tasks.py")).TASKS_TABLE
    replies = ["<think>a</think><answer>B</answer>", "The answer is A."]
    model = get_model("mockllm/model", custom_outputs=[ModelOutput.from_content("mock", text) for text in replies])
    (log,) = eval(get_inspect_ai_task(config), model, log_dir=str(tmp_path), display="none", max_samples=1)
    assert log.status == "success", log.error
    means = {score.name: score.metrics["accuracy"].value for score in log.results.scores}
    assert means == {"correct": 0.5, "lenient_correct": 1.0, "valid_format": 0.5, "strict_format": 0.5}
