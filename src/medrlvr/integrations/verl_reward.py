"""A reward function for verl, which loads it by the name of this module: `pkg://medrlvr.integrations.verl_reward`."""

from collections.abc import Mapping
from typing import Any

from medrlvr.grading.grader import AnswerFormat
from medrlvr.grading.reward_config import Setting
from medrlvr.integrations.responses import cached_reward, grade_response, scores
from medrlvr.runtime.errors import UserError


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: int | str,
    extra_info: Mapping[str, Any] | None = None,
    *,
    reward: Setting = "paper",
    answer_format: AnswerFormat = "tagged",
    prefix: str = "",
    **_: object,
) -> dict[str, float]:
    """Grade one response; verl trains with `score` and logs the other values.

    Args:
        data_source: name of the data set; not used.
        solution_str: the response, from which verl has removed the special tokens.
        ground_truth: the correct option: its letter, or its index from 0.
        extra_info: a mapping with the key `options`, the option texts.
        reward: as for `medrlvr.grading.load_reward`; set it in verl's `reward_kwargs`, like the next two.
        answer_format: as for `medrlvr.grading.grade`.
        prefix: start of the response that the chat template has written into the prompt, such as "<think>".

    Raises:
        UserError: there are no options, or the reward cannot work.
    """
    if extra_info is None or "options" not in extra_info:
        raise UserError(
            f"{data_source}: extra_info has no key options. Add the option texts to the data set's extra_info."
        )
    found = grade_response(solution_str, extra_info["options"], ground_truth, answer_format, prefix=prefix)
    return {"score": cached_reward(reward)(found)} | scores(found)
