"""The paper's six stages (section 4.2.1, Table 3) as measurements: a label for each response, bands for a run.

A single response does not show that a model has returned to reasoning, so responses have only five labels. The sixth
stage, reintegrated reasoning, is a band of sound responses after a band of shortcuts. docs/stages.md gives the reasons.
"""

from typing import Literal

from medrlvr.grading.grader import Grade
from medrlvr.grading.shortcuts import find_shortcuts

Label = Literal[
    "format_failure", "verbose_formatter", "concise_structurer", "direct_answer_hacker", "step_by_step_exploit"
]
LABELS: tuple[Label, ...] = (
    "format_failure",
    "verbose_formatter",
    "concise_structurer",
    "direct_answer_hacker",
    "step_by_step_exploit",
)
SOUND = ("verbose_formatter", "concise_structurer")
HACKED = ("direct_answer_hacker", "step_by_step_exploit")
REINTEGRATED = "reintegrated_reasoning"
STAGES = (*LABELS, REINTEGRATED)
"""The six stages, in the paper's order."""

VERBOSE_CHARS = 2000
"""Length of the think block above which a response is verbose, in characters. In the paper's Figure 2, responses have
2,975 characters in the verbose stage and 1,385 in the concise stage."""


def label(response: str, grade: Grade) -> Label:
    """Return the stage that one graded response shows.

    Args:
        response: the generated text, without the prompt.
        grade: its grade. A response without a valid format is still verbose if it was cut off in a long think block.
    """
    if not grade.valid_format:
        endless = grade.truncated and grade.think_tags and not grade.think_ends
        thought = " ".join(response.partition("<think>")[2].split())
        return "verbose_formatter" if endless and len(thought) > VERBOSE_CHARS else "format_failure"
    shortcuts = find_shortcuts(response, grade)
    if shortcuts.pre_think:
        return "step_by_step_exploit"
    if grade.think_chars > VERBOSE_CHARS:
        return "verbose_formatter"
    if shortcuts.early_answer or shortcuts.empty_think:
        return "direct_answer_hacker"
    return "concise_structurer"
