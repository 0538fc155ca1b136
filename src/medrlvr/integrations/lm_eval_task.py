"""A generative task for lm-evaluation-harness, and filters for tasks that exist.

The harness imports the functions by their names in a YAML file, such as
`!function medrlvr.integrations.lm_eval_task.process_results`. `task` returns the same task for Python.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from medrlvr.grading.grader import AnswerFormat
from medrlvr.integrations.questions import gold_letter, prompt
from medrlvr.integrations.responses import SCORES, grade_response, scores

UNREAD = "[invalid]"
"""What a filter returns if there is no letter, like the harness's own filters."""


def process_results(
    doc: Mapping[str, Any], results: Sequence[str], answer_format: AnswerFormat = "tagged", prefix: str = ""
) -> dict[str, float]:
    """Grade the response to one question; the values are the task's metrics.

    Args:
        doc: the question, with options and gold.
        results: the responses that the harness's filters leave; the first is graded.
        answer_format: as for `medrlvr.grading.grade`.
        prefix: start of the response that is already in the prompt: the harness's `gen_prefix`.
    """
    return scores(grade_response(results[0], doc["options"], doc["gold"], answer_format, prefix=prefix))


def strict_letters(resps: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Return the letter of every response, for the harness's `custom` filter; `UNREAD` for none."""
    return _letters(resps, docs, "letter")


def lenient_letters(resps: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Return the lenient letter of every response, for the harness's `custom` filter; `UNREAD` for none."""
    return _letters(resps, docs, "lenient_letter")


def task(
    questions: str | Path, name: str = "medrlvr", max_gen_toks: int = 1024, answer_format: AnswerFormat = "tagged"
) -> dict[str, Any]:
    """Return the configuration of a task, for `simple_evaluate(tasks=[...])`.

    Args:
        questions: JSON lines, as for `read_questions`.
        name: name of the task in the results.
        max_gen_toks: largest number of tokens of a response.
        answer_format: as for `medrlvr.grading.grade`; "bare" needs questions with their own `prompt`.
    """
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(questions)}},
        "test_split": "test",
        "doc_to_text": prompt,
        "doc_to_target": gold_letter,
        "target_delimiter": "",
        # Without `until`, the harness ends a response at its first empty line.
        "generation_kwargs": {"until": [], "do_sample": False, "max_gen_toks": max_gen_toks},
        "process_results": partial(process_results, answer_format=answer_format),
        "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in SCORES],
    }


def _letters(resps: Iterable[Sequence[str]], docs: Iterable[Mapping[str, Any]], field: str) -> list[list[str]]:
    return [
        [getattr(grade_response(response, doc["options"], doc["gold"]), field) or UNREAD for response in responses]
        for responses, doc in zip(resps, docs, strict=True)
    ]
