"""A taskset for verifiers 0.4, whose interface is `verifiers.v1`.

verifiers imports a taskset by the name of a module of its own. Write one with two lines:
`from medrlvr.integrations.verifiers_taskset import McqaTaskset` and `__all__ = ["McqaTaskset"]`.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import verifiers.v1 as vf

from medrlvr.grading.grader import AnswerFormat, Grade
from medrlvr.grading.reward_config import Setting
from medrlvr.integrations.questions import prompt, read_questions
from medrlvr.integrations.responses import cached_reward, grade_response, scores


class McqaData(vf.TaskData):
    """A question; `prompt` and `id` are the base class's.

    Attributes:
        options: the option texts.
        gold: the correct option: its index from 0, or its letter.
    """

    options: list[str]
    gold: int | str


class McqaTaskConfig(vf.TaskConfig):
    """How responses are graded.

    Attributes:
        terms: the reward, as for `medrlvr.grading.load_reward`.
        answer_format: as for `medrlvr.grading.grade`.
        prefix: start of the response that the chat template has written into the prompt, such as "<think>".
    """

    terms: Setting = "paper"
    answer_format: AnswerFormat = "tagged"
    prefix: str = ""


class McqaTask(vf.Task[McqaData, vf.State, McqaTaskConfig]):
    """One question, its reward and its metrics."""

    @vf.reward
    async def medrlvr_reward(self, trace: vf.Trace) -> float:
        """Return the reward of the last response."""
        return cached_reward(self.config.terms)(self._grade(trace))

    @vf.metric
    async def medrlvr_scores(self, trace: vf.Trace) -> dict[str, float]:
        """Return the reported fields of the grade, and save the whole grade in `trace.info`."""
        found = self._grade(trace)
        trace.info["medrlvr"] = asdict(found)
        return scores(found)

    def _grade(self, trace: vf.Trace) -> Grade:
        # Not trace.last_reply, which has neither the outer white space nor the reasoning.
        replies = trace.assistant_messages
        return grade_response(
            replies[-1].content if replies else "",
            self.data.options,
            self.data.gold,
            self.config.answer_format,
            reasoning=replies[-1].reasoning_content if replies else None,
            prefix=self.config.prefix,
            truncated=trace.is_truncated,
        )


class McqaTasksetConfig(vf.TasksetConfig):
    """Where the questions are.

    Attributes:
        task: how responses are graded.
        questions: JSON lines, as for `read_questions`.
    """

    task: McqaTaskConfig = McqaTaskConfig()
    questions: Path


class McqaTaskset(vf.Taskset[McqaTask, McqaTasksetConfig]):
    """Questions of a file, with the paper's prompt."""

    def load(self) -> Iterator[McqaTask]:
        """Yield a task for each question."""
        for question in read_questions(self.config.questions):
            data = McqaData(
                id=question.get("question_id"),
                prompt=prompt(question),
                options=question["options"],
                gold=question["gold"],
            )
            yield McqaTask(data, self.config.task)
