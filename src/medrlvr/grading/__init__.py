"""Grade a response and compute its reward (paper, section 2.2). The package imports only the standard library.

from medrlvr.grading import grade
grade("<think>...</think><answer>B</answer>", ["x", "y"], gold=1).correct
"""

from medrlvr.grading.grader import Grade, grade
from medrlvr.grading.letters import LETTERS
from medrlvr.grading.reward_config import load_reward

__all__ = ["LETTERS", "Grade", "grade", "load_reward"]
