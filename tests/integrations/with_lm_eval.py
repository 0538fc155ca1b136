"""lm-evaluation-harness 0.4: the golden cases through `simple_evaluate`, the filters, and what its defaults cut off."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from golden import BARE, CASES, DOCUMENT, TAGGED, differing, example, expected, stated, write_questions
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import get_filter
from lm_eval.models.utils import postprocess_generated_text
from lm_eval.tasks import TaskManager

from medrlvr.grading import grade
from medrlvr.integrations.lm_eval_task import UNREAD, lenient_letters, process_results, strict_letters, task
from medrlvr.integrations.questions import prompt
from medrlvr.integrations.responses import SCORES


class Recorded(LM):
    """Returns recorded responses, by prompt."""

    def __init__(self, responses: dict[str, str]) -> None:
        super().__init__()
        self.responses = responses
        self.settings: list[dict[str, Any]] = []

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        self.settings += [request.args[1] for request in requests]
        return [self.responses[request.args[0]] for request in requests]

    def loglikelihood(self, *_: object) -> Any:
        raise NotImplementedError

    loglikelihood_rolling = loglikelihood


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def graded(cases: list[dict[str, Any]], responses: list[str]) -> list[dict[str, Any]]:
    """The scores, and the letter that the filter finds."""
    letters = strict_letters([[response] for response in responses], cases)
    return [
        process_results(case, [response]) | {"letter": None if letter == UNREAD else letter}
        for case, response, (letter,) in zip(cases, responses, letters, strict=True)
    ]


@pytest.mark.parametrize("cases", [TAGGED, BARE], ids=["tagged", "bare"])
def test_all_cases_agree_in_an_evaluation(cases: list[dict[str, Any]], tmp_path: Path) -> None:
    # JSON has no lone surrogates, so the responses are not in the file.
    rows = [
        {"stem": f"Question {n}?", "options": case["options"], "gold": case["gold"], "prompt": str(n)}
        for n, case in enumerate(cases)
    ]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = Recorded({str(n): case["response"] for n, case in enumerate(cases)})
    given = task(tmp_path / "questions.jsonl", answer_format=cases[0]["form"])
    results = simple_evaluate(model=model, tasks=[given], bootstrap_iters=0)
    samples = sorted(results["samples"]["medrlvr"], key=lambda sample: sample["doc_id"])
    assert differing(cases, [{name: sample[name] for name in SCORES} for sample in samples]) == []
    means = {name: sum(expected(case)[name] for case in cases) / len(cases) for name in SCORES}
    assert {name: results["results"]["medrlvr"][f"{name},none"] for name in SCORES} == pytest.approx(means)
    assert {setting["max_gen_toks"] for setting in model.settings} == {1024}
    assert all(setting["until"] == [] for setting in model.settings)


def test_the_filters_return_our_letters() -> None:
    responses, found = (
        [[case["response"]] for case in TAGGED],
        [grade(c["response"], c["options"], c["gold"]) for c in TAGGED],
    )
    for function, field in ((strict_letters, "letter"), (lenient_letters, "lenient_letter")):
        letters = get_filter("custom")(filter_fn=function).apply(responses, TAGGED)
        assert letters == [[getattr(one, field) or UNREAD] for one in found]


def test_the_harness_returns_no_finish_reason() -> None:
    assert sum(case["truncated"] for case in CASES) == stated("TRL, verl, lm-evaluation-harness")


def test_the_cases_that_differ_if_the_harness_cuts_the_response() -> None:
    cut = [postprocess_generated_text(case["response"], ["\n\n"], None) for case in TAGGED]
    assert len(differing(TAGGED, graded(TAGGED, cut))) == stated("lm-evaluation-harness without `until`")
    cut = [postprocess_generated_text(case["response"], None, "</think>") for case in TAGGED]
    assert len(differing(TAGGED, graded(TAGGED, cut))) == stated("lm-evaluation-harness with `think_end_token`")


def test_the_yaml_file_is_the_same_task(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "questions.jsonl")
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    (tmp_path / "medrlvr.yaml").write_text(block, encoding="utf-8")
    replies = ["<think>a</think><answer>B</answer>", "The answer is A."]
    model = Recorded(dict(zip(map(prompt, questions), replies, strict=True)))
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = simple_evaluate(model=model, tasks=["medrlvr"], task_manager=manager, bootstrap_iters=0)["results"][
        "medrlvr"
    ]
    assert (found["correct,none"], found["valid_format,none"]) == (0.5, 0.5)


def test_the_example_runs(tmp_path: Path) -> None:
    questions = write_questions(tmp_path / "questions.jsonl")
    model = Recorded({prompt(question): "<think>a</think><answer>B</answer>" for question in questions})
    # Without weights and torch. `make test-peer` runs the harness's own backend.
    run = example("lm-evaluation-harness").replace('model="hf", model_args="pretrained=model"', "model=recorded")
    scope: dict[str, Any] = {"recorded": model}
    exec(run, scope)
    assert scope["found"]["results"]["medrlvr"]["correct,none"] == 0.5
