"""The integrations without their frameworks: all golden cases agree. tests/integrations uses the real packages."""

import ast
import asyncio
import importlib
import json
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

import numpy as np
import pytest

from medrlvr.data.prompts import Renderer
from medrlvr.grading import Grade, grade, load_reward
from medrlvr.grading.letters import option_index
from medrlvr.integrations.lm_eval_task import UNREAD, lenient_letters, process_results, strict_letters, task
from medrlvr.integrations.questions import TEMPLATES, gold_letter, prompt, read_questions
from medrlvr.integrations.responses import SCORES, cached_reward, grade_response, restored, scores
from medrlvr.integrations.trl_reward import trl_reward
from medrlvr.integrations.verl_reward import compute_score
from medrlvr.runtime.errors import UserError
from medrlvr.training import reward_hook

CASES = [json.loads(line) for line in Path("tests/golden/grades.jsonl").read_text(encoding="utf-8").splitlines()]
DOCUMENT = Path("docs/grader_in_your_trainer.md").read_text(encoding="utf-8")
QUESTION = {"stem": "Which drug ends a migraine?", "options": ["insulin", "sumatriptan"], "gold": 1}
EMPTY_THINK = "<think></think><answer>B</answer>"
PAPER = load_reward("paper")


def golden(*forms: str) -> list[tuple[dict[str, Any], Grade]]:
    """Cases, and what the grader itself finds in them."""
    asked = [case for case in CASES if case["form"] in forms]
    assert len(asked) > 20
    return [
        (case, grade(case["response"], case["options"], case["gold"], case["form"], truncated=case["truncated"]))
        for case in asked
    ]


def test_trls_function_agrees_in_all_cases() -> None:
    for form in ("tagged", "bare"):
        cases, found = zip(*golden(form), strict=True)
        columns = {name: [case[name] for case in cases] for name in ("options", "gold")}
        texts = [case["response"] for case in cases]
        for completions in (texts, [[{"role": "assistant", "content": text}] for text in texts]):
            extra: dict[str, list[Any]] = {}
            means: dict[str, float] = {}
            logs = {"log_extra": extra.__setitem__, "log_metric": means.__setitem__}
            given = {"prompts": texts, "trainer_state": None, "completion_ids": None} | columns | logs
            assert trl_reward("paper", form)(completions=completions, **given) == [*map(PAPER, found)]
            assert extra == {name: [getattr(one, name) for one in found] for name in ("letter", "rule")}
            assert means == {name: np.mean([getattr(one, name) for one in found]) for name in SCORES}
    assert trl_reward()(completions=[], options=[], gold=[], log_metric=means.__setitem__) == []


def test_trls_function_restores_the_think_block_of_a_message() -> None:
    columns = {"options": [["x", "y"]], "gold": [1]}
    message = {"role": "assistant", "content": "<answer>B</answer>", "reasoning_content": "because"}
    called = [{"role": "assistant", "content": None}, message]
    assert trl_reward()(completions=[called], **columns) == [1.0]
    assert trl_reward()(completions=[[message | {"reasoning_content": ""}]], **columns) == [-1.0]
    assert trl_reward(prefix="<think>")(completions=["a</think><answer>B</answer>"], **columns) == [1.0]


def test_trls_function_decodes_with_a_tokenizer_and_detects_truncated_responses(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def reward(grade):\n    return float(grade.correct) - 2 * grade.truncated\n")
    written: dict[str, Any] = {}

    def decode(ids: list[int], **how: bool) -> str:
        written.update(how)
        return "".join(map(chr, ids))

    tokenizer = SimpleNamespace(eos_token_id=0, decode=decode)
    ids = [*map(ord, EMPTY_THINK)]
    columns = {"completions": ["", "", ""], "options": [["x", "y"]] * 3, "gold": ["B"] * 3}
    reward = trl_reward(str(tmp_path / "mine.py"), tokenizer=tokenizer)
    assert reward(completion_ids=[ids, [*ids, 0], []], **columns) == [-1.0, 1.0, -2.0]
    assert written == {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}


def test_verls_function_agrees_in_all_cases() -> None:
    for form in ("tagged", "bare"):
        for case, found in golden(form):
            extra = {"options": np.array(case["options"], dtype=object), "num_turns": None}
            given = {"extra_info": extra, "answer_format": form}
            expected = {"score": PAPER(found)} | {name: float(getattr(found, name)) for name in SCORES}
            assert compute_score("golden", case["response"], np.int64(case["gold"]), **given) == expected
    opened = {"solution_str": "a</think><answer>B</answer>", "ground_truth": "B", "extra_info": {"options": ["x", "y"]}}
    assert compute_score("medqa", **opened)["score"] == -1.0
    weighted = {"paper": 1, "short_cot_penalty": types.MappingProxyType({"weight": 0.5})}
    assert compute_score("medqa", **opened, prefix="<think>", reward=weighted)["score"] == 0.5


@pytest.mark.parametrize("extra", [None, {}])
def test_verls_function_needs_the_options(extra: dict[str, Any] | None) -> None:
    with pytest.raises(UserError, match="medqa: extra_info has no key options"):
        compute_score("medqa", "a", "B", extra)


def test_openrlhfs_function_agrees_in_all_tagged_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hook grades the paper's format only."""
    monkeypatch.setenv("MEDRLVR_ROLLOUTS", str(tmp_path))
    monkeypatch.setenv("MEDRLVR_END_OF_TEXT", "<end>")
    monkeypatch.setenv("MEDRLVR_REWARD", '{"paper": 1}')
    # JSON lines in UTF-8 cannot have the lone surrogates of some cases. No engine returns them.
    kept = [pair for pair in golden("tagged") if not re.search("[\\ud800-\\udfff]", pair[0]["response"])]
    fields = (*SCORES, "letter", "rule", "truncated")
    for case, found in kept:
        label = json.dumps({"question_id": "q", "update": 1, "options": case["options"], "gold": case["gold"]})
        query = "Q " + case["response"] + ("" if case["truncated"] else "<end>")
        assert reward_hook.reward_func([query], ["Q "], [label])["rewards"] == PAPER(found)
    (shard,) = tmp_path.glob("*.jsonl")
    saved = [json.loads(line) for line in shard.read_text(encoding="utf-8").split("\n") if line]
    assert [{name: row[name] for name in fields} for row in saved] == [
        {name: getattr(found, name) for name in fields} for _, found in kept
    ]


class Characters:
    """A tokenizer and an engine whose tokens are characters; the engine returns one response."""

    def __init__(self, response: str) -> None:
        self.response = [*map(ord, response)]

    def __call__(self, text: str, **_: object) -> dict[str, Any]:
        return {"input_ids": np.array([[*map(ord, text)]])}

    def decode(self, ids: list[int], skip_special_tokens: bool) -> str:
        assert not skip_special_tokens
        return "".join(map(chr, ids))

    async def generate(self, *_: object, **__: object) -> SimpleNamespace:
        output = SimpleNamespace(token_ids=self.response, finish_reason="stop", logprobs=None)
        return SimpleNamespace(outputs=[output])


def test_openrlhf_runs_the_documents_file_on_all_tagged_cases(tmp_path: Path) -> None:
    from openrlhf.utils.agent import SingleTurnAgentExecutor

    (tmp_path / "reward.py").write_text(dict(blocks())["OpenRLHF"], encoding="utf-8")
    executor = SingleTurnAgentExecutor([str(tmp_path / "reward.py")])
    limits = SimpleNamespace(max_tokens=10**6, logprobs=None)
    prompt = "Write <think> </think> <answer> </answer>. "
    for case, found in golden("tagged"):
        label = json.dumps({"options": case["options"], "gold": case["gold"]})
        model = Characters(case["response"] + ("" if case["truncated"] else "<|endoftext|>"))
        given = asyncio.run(executor.execute(prompt, label, limits, 10**7, model, model))
        logged = {"correct": float(found.correct), "valid_format": float(found.valid_format)}
        assert (given["reward"], given["scores"], given["extra_logs"]) == (PAPER(found), PAPER(found), logged)
    cut = executor.reward_func
    with pytest.raises(AssertionError, match="must be removed"):
        cut(["<answer>"], ["Write <answer>"], [label])


def test_the_functions_of_lm_eval_agree_in_all_cases() -> None:
    for form in ("tagged", "bare"):
        for case, found in golden(form):
            assert process_results(case, [case["response"]], form) == scores(found)
    cases, found = zip(*golden("tagged"), strict=True)
    responses = [[case["response"], "no answer"] for case in cases]
    assert strict_letters(responses, cases) == [[one.letter or UNREAD, UNREAD] for one in found]
    assert lenient_letters(responses, cases) == [[one.lenient_letter or UNREAD, UNREAD] for one in found]
    assert process_results(QUESTION, ["a</think><answer>B</answer>"], prefix="<think>")["correct"] == 1.0


def test_the_task_of_lm_eval() -> None:
    given = task("questions.jsonl", name="mine", max_gen_toks=9, answer_format="bare")
    assert (given["task"], given["generation_kwargs"]["max_gen_toks"]) == ("mine", 9)
    assert given["generation_kwargs"]["until"] == []
    assert given["doc_to_text"](QUESTION) == prompt(QUESTION)
    assert given["doc_to_target"](QUESTION) == "B"
    assert given["process_results"](QUESTION, ["B"])["correct"] == 1.0
    assert [metric["metric"] for metric in given["metric_list"]] == [*SCORES]


def imported(monkeypatch: pytest.MonkeyPatch, module: str, **stubs: dict[str, Any]) -> types.ModuleType:
    """Import an integration with stand-ins for the names that it uses of its framework."""
    for name, content in stubs.items():
        monkeypatch.setitem(sys.modules, name.replace("__", "."), SimpleNamespace(**content))
    monkeypatch.delitem(sys.modules, module, raising=False)
    found = importlib.import_module(module)
    monkeypatch.delitem(sys.modules, module)
    return found


def unchanged(*_: Any, **__: Any) -> Callable[[Any], Any]:
    return lambda decorated: decorated


def test_inspects_scorer_agrees_in_all_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    thought = type("ContentReasoning", (SimpleNamespace,), {})
    module = imported(
        monkeypatch,
        "medrlvr.integrations.inspect_task",
        inspect_ai={"Task": SimpleNamespace, "task": lambda decorated: decorated},
        inspect_ai__dataset={"MemoryDataset": list, "Sample": SimpleNamespace},
        inspect_ai__model={"ContentReasoning": thought, "ModelOutput": object},
        inspect_ai__scorer={
            **{"Score": SimpleNamespace, "Scorer": object, "Target": object, "scorer": unchanged},
            **{"accuracy": lambda: None, "stderr": lambda: None},
        },
        inspect_ai__solver={"TaskState": object, "generate": lambda: None},
    )

    def scored(content: Any, text: str, case: dict[str, Any], stop: str, *how: str) -> Any:
        output = SimpleNamespace(
            completion=text, choices=[1], message=SimpleNamespace(content=content), stop_reason=stop
        )
        state = SimpleNamespace(output=output, choices=[SimpleNamespace(value=option) for option in case["options"]])
        return asyncio.run(module.mcqa_scorer(*how)(state, SimpleNamespace(text=gold_letter(case))))

    for form in ("tagged", "bare"):
        for case, found in golden(form):
            score = scored(
                case["response"], case["response"], case, "max_tokens" if case["truncated"] else "stop", form
            )
            assert (score.value, score.answer, score.explanation) == (scores(found), found.letter, case["response"])
            assert score.metadata == {name: getattr(found, name) for name in score.metadata}
    parts = [thought(reasoning="be"), thought(reasoning="cause"), SimpleNamespace(text="<answer>B</answer>")]
    restored_score = scored(parts, "<answer>B</answer>", QUESTION, "stop")
    assert restored_score.explanation == "<think>because</think><answer>B</answer>"
    assert restored_score.value["strict_format"] == 1.0
    assert scored([thought(reasoning="")], "<answer>B</answer>", QUESTION, "stop").value["correct"] == 1.0
    nothing = SimpleNamespace(
        output=SimpleNamespace(completion="", choices=[]), choices=[SimpleNamespace(value="x")] * 2
    )
    empty = asyncio.run(module.mcqa_scorer()(nothing, SimpleNamespace(text="A")))
    assert (empty.answer, empty.metadata["truncated"]) == (None, False)
    sample = module.record_to_sample(QUESTION | {"question_id": "q"})
    assert (sample.id, sample.input, sample.target) == ("q", prompt(QUESTION), "B")


def test_verifiers_task_agrees_in_all_cases(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data, state, config = TypeVar("data"), TypeVar("state"), TypeVar("config")

    class Task(Generic[data, state, config]):
        def __init__(self, data: Any, config: Any) -> None:
            self.data, self.config = data, config

    class Taskset(Generic[data, config]):
        def __init__(self, config: Any) -> None:
            self.config = config

    bases = dict.fromkeys(("TaskData", "TaskConfig", "TasksetConfig"), SimpleNamespace)
    same = {name: lambda decorated: decorated for name in ("reward", "metric")}
    stub = {"Task": Task, "Taskset": Taskset, "State": int, "Trace": object} | bases | same
    stubs = {"verifiers": {"v1": SimpleNamespace(**stub)}, "verifiers__v1": stub}
    module = imported(monkeypatch, "medrlvr.integrations.verifiers_taskset", **stubs)

    def rewarded(case: dict[str, Any], *replies: Any, **how: Any) -> tuple[float, dict[str, float], Any]:
        question = module.McqaData(options=case["options"], gold=case["gold"])
        trace = SimpleNamespace(assistant_messages=replies, is_truncated=case.get("truncated", False), info={})
        one = module.McqaTask(question, module.McqaTaskConfig(**how))
        return asyncio.run(one.medrlvr_reward(trace)), asyncio.run(one.medrlvr_scores(trace)), trace.info["medrlvr"]

    for form in ("tagged", "bare"):
        for case, found in golden(form):
            reply = SimpleNamespace(content=case["response"], reasoning_content=None)
            reward, values, saved = rewarded(case, SimpleNamespace(content="?"), reply, answer_format=form)
            assert (reward, values) == (PAPER(found), scores(found))
            assert saved == {name: getattr(found, name) for name in saved}
    assert rewarded(QUESTION, SimpleNamespace(content="<answer>B</answer>", reasoning_content="a"))[0] == 1.0
    assert rewarded(QUESTION, SimpleNamespace(content=None, reasoning_content=None))[0] == -1.0
    assert rewarded(QUESTION)[0] == -1.0
    (tmp_path / "questions.jsonl").write_text(json.dumps(QUESTION | {"question_id": "q"}) + "\n", encoding="utf-8")
    (loaded,) = module.McqaTaskset(module.McqaTasksetConfig(questions=tmp_path / "questions.jsonl")).load()
    assert (loaded.data.id, loaded.data.prompt, loaded.data.options) == ("q", prompt(QUESTION), QUESTION["options"])


def test_what_is_restored() -> None:
    assert restored(None) == ""
    assert restored("a</think>", prefix="<think>") == "<think>a</think>"
    assert restored("<answer>B</answer>", "") == EMPTY_THINK
    assert restored("<answer>B</answer>", "a", "<think>") == "<think>a</think><answer>B</answer>"
    assert grade_response("<answer>B</answer>", ("x", "y"), "B", reasoning="a", truncated=True).truncated


def test_a_reward_is_loaded_once() -> None:
    assert cached_reward({"paper": 1}) is cached_reward({"paper": 1})
    with pytest.raises(UserError, match="there is no reward called 'papers'"):
        cached_reward("papers")


def test_an_option_is_an_index_or_a_letter() -> None:
    assert [option_index(gold, 4) for gold in (0, 3, "A", "D", np.int64(2))] == [0, 3, 0, 3, 2]
    for gold in (-1, 4, "E", "a", "", "AB", True, 1.0, None, [1]):
        with pytest.raises(ValueError, match="letter from A to D or an index from 0 to 3"):
            option_index(gold, 4)


def test_the_prompt_is_the_papers_or_the_questions_own() -> None:
    paper = Renderer("prompts/question.txt", chain_of_thought="prompts/med_rlvr.txt")
    assert prompt(QUESTION) == paper.prompt(QUESTION, "chain_of_thought")
    assert prompt(QUESTION | {"prompt": "Mine"}) == "Mine"
    assert TEMPLATES.resolve() == Path("prompts").resolve()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 3: this is not a question: "),
        ("[]", "line 3: this is not a question: it is not an object"),
        ("1", "line 3: this is not a question: it is not an object"),
        ('{"stem": "a", "options": ["x", 3], "gold": 0}', "line 3: .*2 to 11 texts"),
        ('{"stem": "a", "options": ["x", null], "gold": 0}', "line 3: .*2 to 11 texts"),
        ('{"options": ["x", "y"], "gold": 0}', "line 3: the key 'stem' is missing"),
        ('{"stem": "a", "options": ["x", "y"]}', "line 3: the key 'gold' is missing"),
        ('{"stem": "a", "options": ["x"], "gold": 0}', "line 3: .*2 to 11 texts"),
        ('{"stem": "a", "options": "xy", "gold": 0}', "line 3: .*2 to 11 texts"),
        ('{"stem": "a", "options": ["x", "y"], "gold": 2}', "line 3: .*an index from 0 to 1, not 2"),
        ('{"prompt": 1, "options": ["x", "y"], "gold": 0}', "line 3: .*stem and prompt must be texts"),
    ],
)
def test_a_file_of_questions_is_checked(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "questions.jsonl").write_text(f"{json.dumps(QUESTION)}\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_questions(tmp_path / "questions.jsonl")
    with pytest.raises(UserError, match="does not exist"):
        read_questions(tmp_path / "other.jsonl")


def test_a_folder_and_a_file_without_questions_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a file\. Give a file"):
        read_questions(tmp_path)
    (tmp_path / "questions.jsonl").write_text("\n")
    with pytest.raises(UserError, match=r"questions.jsonl has no questions\. Give a file"):
        read_questions(tmp_path / "questions.jsonl")


def blocks() -> Iterator[tuple[str, str]]:
    """Heading and text of each Python example of the document."""
    for section in DOCUMENT.split("\n## ")[1:]:
        for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            yield section.partition("\n")[0], block


def test_the_examples_use_names_that_exist_and_are_short() -> None:
    """tests/integrations runs them; here the frameworks are absent."""
    shown = dict(blocks())
    assert {"TRL", "verl", "OpenRLHF", "verifiers", "Inspect", "lighteval", "lm-evaluation-harness"} <= set(shown)
    for heading, block in shown.items():
        lines = [line for line in block.splitlines() if line and not line.startswith(("import ", "from "))]
        assert len(lines) <= 10, heading
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("medrlvr.integrations"):
                tree = ast.parse(Path("src", *node.module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
                defined = {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)}
                assert {alias.name for alias in node.names} <= defined, heading


def test_the_functions_that_the_harness_imports_by_name_exist() -> None:
    names = re.findall(r"!function ([\w.]+)\.(\w+)", DOCUMENT)
    assert len(names) >= 4
    assert all(callable(getattr(importlib.import_module(module), name)) for module, name in names)


def test_the_document_counts_the_golden_cases() -> None:
    assert f"(`tests/golden/grades.jsonl`, {len(CASES)} responses)" in DOCUMENT
    assert f"the {len(golden('bare'))} cases of direct answers" in DOCUMENT
    assert sum(bool(re.search("[\\ud800-\\udfff]", case["response"])) for case in CASES) == 1
    (truncated,) = re.findall(r"^\| TRL, verl, lm-evaluation-harness \|.*\| (\d+) \|$", DOCUMENT, re.MULTILINE)
    assert int(truncated) == sum(case["truncated"] for case in CASES)


def test_every_framework_has_pinned_packages_a_program_and_an_ignored_folder() -> None:
    (listed,) = re.findall(r"^FRAMEWORKS := (.*)$", Path("Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    folder = Path("tests/integrations")
    assert listed.split() == sorted(path.stem for path in folder.glob("*.txt"))
    for name in listed.split():
        assert (folder / f"with_{name}.py").is_file()
        lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()[1:]
        assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert subprocess.run(["git", "check-ignore", ".integrations/trl"], capture_output=True).returncode == 0
