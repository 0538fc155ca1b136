"""verifiers 0.4: the golden cases as traces of its chat dialect, scored by the real task."""

import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest
import verifiers.v1 as vf
from golden import BARE, TAGGED, differing, example, expected, stated, write_questions
from verifiers.v1.dialects import ChatDialect
from verifiers.v1.utils.loaders import load_taskset

from medrlvr.integrations.responses import SCORES, grade_response
from medrlvr.integrations.verifiers_taskset import McqaData, McqaTask, McqaTaskConfig, McqaTaskset, McqaTasksetConfig


def trace_of(task: McqaTask, case: dict[str, Any], **message: str) -> vf.Trace:
    """A finished trace whose response is parsed by verifiers' own dialect."""
    reason = "length" if case["truncated"] else "stop"
    choice = {
        "index": 0,
        "finish_reason": reason,
        "message": {"role": "assistant", "content": case["response"]} | message,
    }
    completion = {"id": "1", "created": 0, "model": "m", "object": "chat.completion", "choices": [choice]}
    dialect = ChatDialect()
    response = dialect.parse_response(dialect.validate_response(completion))
    node = vf.MessageNode(message=response.message, sampled=True)
    record = vf.TraceTask(type="McqaTask", data=task.data)
    agent = vf.AgentInfo(config=vf.AgentConfig())
    call = vf.ModelCall(node=0, finish_reason=response.finish_reason)
    return vf.Trace(task=record, agent=agent, nodes=[node], calls=[call])


def scored(case: dict[str, Any], config: dict[str, Any], **message: str) -> vf.Trace:
    data = McqaData(prompt="a", options=case["options"], gold=case["gold"])
    task = McqaTask(data, McqaTaskConfig(answer_format=case["form"], **config))
    trace = trace_of(task, case, **message)
    asyncio.run(task.score(trace))
    return trace


def found(trace: vf.Trace) -> dict[str, Any]:
    read = {name: trace.info["medrlvr"][name] for name in ("letter", "rule", "truncated")}
    return read | trace.metrics | {"reward": trace.reward}


@pytest.mark.parametrize("cases", [TAGGED, BARE], ids=["tagged", "bare"])
def test_all_cases_agree(cases: list[dict[str, Any]]) -> None:
    results = [found(scored(case, {})) for case in cases]
    assert differing(cases, results) == []
    assert set(results[0]) == set(expected(cases[0]))


def test_the_last_reply_of_verifiers_would_change_cases() -> None:
    cut = [scored(case, {}).last_reply for case in TAGGED]
    assert sum(text != case["response"] for text, case in zip(cut, TAGGED, strict=True)) > 0
    grades = [grade_response(text, case["options"], case["gold"]) for text, case in zip(cut, TAGGED, strict=True)]
    results = [{name: float(getattr(one, name)) for name in SCORES} | {"letter": one.letter} for one in grades]
    assert len(differing(TAGGED, results)) == stated("verifiers with `trace.last_reply`")


def test_a_reasoning_field_and_a_prefix_are_restored() -> None:
    case = {"response": "<answer>B</answer>", "options": ["x", "y"], "gold": "B", "form": "tagged", "truncated": False}
    assert scored(case, {}).reward == -1.0
    assert scored(case, {}, reasoning_content="because").reward == 1.0
    opened = case | {"response": "because</think><answer>B</answer>"}
    assert scored(opened, {"prefix": "<think>"}).reward == 1.0
    weighted = {"paper": 1.0, "short_cot_penalty": {"weight": 0.5, "least_chars": 50}}
    assert scored(opened, {"prefix": "<think>", "terms": weighted}).reward == 0.5


def test_the_taskset_writes_the_papers_prompt(tmp_path: Path) -> None:
    write_questions(tmp_path / "questions.jsonl")
    taskset = McqaTaskset(McqaTasksetConfig(questions=tmp_path / "questions.jsonl"))
    first, second = taskset
    assert first.data.prompt.endswith("Options:\nA. insulin\nB. sumatriptan\nAssistant:")
    assert (first.data.id, second.data.gold) == ("q1", 0)


def test_the_example_is_a_taskset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    write_questions(tmp_path / "questions.jsonl")
    (tmp_path / "medrlvr_mcqa.py").write_text(example("verifiers"), encoding="utf-8")
    # As `--env.taskset.id medrlvr_mcqa --env.taskset.questions questions.jsonl` does.
    config = vf.SingleAgentEnvConfig.model_validate({"taskset": {"id": "medrlvr_mcqa", "questions": "questions.jsonl"}})
    assert [task.data.id for task in load_taskset(config.taskset)] == ["q1", "q2"]
    runpy.run_path("medrlvr_mcqa.py", run_name="__main__")
    assert capsys.readouterr().out.startswith("0 A conversation between User and Assistant.")
