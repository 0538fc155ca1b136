"""A task and a scorer for Inspect; lighteval accepts the scorer and `record_to_sample` (docs)."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ContentReasoning, ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import TaskState, generate

from medrlvr.grading.grader import AnswerFormat
from medrlvr.integrations.questions import gold_letter, prompt, read_questions
from medrlvr.integrations.responses import SCORES, grade_response, restored, scores

TRUNCATED = ("max_tokens", "model_length")
"""Inspect's stop reasons of a response that ended at a token limit."""


@task
def mcqa(questions: str, answer_format: AnswerFormat = "tagged", prefix: str = "") -> Task:
    """Return a task that evaluates a model on questions.

    Args:
        questions: JSON lines, as for `read_questions`.
        answer_format: as for `medrlvr.grading.grade`; "bare" needs questions with their own `prompt`.
        prefix: start of the response that the chat template has written into the prompt, such as "<think>".
    """
    samples = [record_to_sample(question) for question in read_questions(questions)]
    return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=mcqa_scorer(answer_format, prefix))


def record_to_sample(record: Mapping[str, Any]) -> Sample:
    """Return a question, with stem or prompt, options and gold, as a sample for `mcqa_scorer`."""
    return Sample(
        id=record.get("question_id"), input=prompt(record), choices=list(record["options"]), target=gold_letter(record)
    )


@scorer(metrics={name: [accuracy(), stderr()] for name in SCORES})
def mcqa_scorer(answer_format: AnswerFormat = "tagged", prefix: str = "") -> Scorer:
    """Return a scorer for samples with `choices` and a letter as `target`. Its metadata is the whole grade.

    Args:
        answer_format, prefix: as for `mcqa`.
    """

    async def score(state: TaskState, target: Target) -> Score:
        text, reasoning = _parts(state.output)
        found = grade_response(
            text,
            [choice.value for choice in state.choices],
            target.text,
            answer_format,
            reasoning=reasoning,
            prefix=prefix,
            truncated=bool(state.output.choices) and state.output.stop_reason in TRUNCATED,
        )
        response = restored(text, reasoning, prefix)
        return Score(value=dict(scores(found)), answer=found.letter, explanation=response, metadata=asdict(found))

    return score


def _parts(output: ModelOutput) -> tuple[str, str | None]:
    """Return the text and the reasoning of a response. Inspect separates them for many providers."""
    content = output.message.content if output.choices else ""
    thought = [] if isinstance(content, str) else [part for part in content if isinstance(part, ContentReasoning)]
    return output.completion, "".join(part.reasoning for part in thought) if thought else None
