"""Grade a response and compute its reward (paper, section 2.2).

The package imports only the standard library. Example:

    from medrlvr.grading import NumberKey, grade, grade_answer
    grade("<think>...</think><answer>B</answer>", ["x", "y"], gold=1).correct
    grade_answer("<think>...</think><answer>40 mg</answer>", NumberKey(0.04, "g")).correct
"""

from medrlvr.grading.grader import Grade, grade
from medrlvr.grading.kinds import KindGrade, LetterKey, NumberKey, TextKey, grade_answer
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import load_reward

__all__ = [
    "LETTERS",
    "Grade",
    "KindGrade",
    "LetterKey",
    "NumberKey",
    "TextKey",
    "grade",
    "grade_answer",
    "load_reward",
]
