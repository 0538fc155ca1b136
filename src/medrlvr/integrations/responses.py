"""Grade a response as a framework returns it. All integrations use this module."""

from collections.abc import Mapping, Sequence

from medrlvr.grading.grader import AnswerFormat, Grade, grade
from medrlvr.grading.letters import option_index
from medrlvr.grading.reward_config import Setting, reward_from_json, reward_to_json
from medrlvr.grading.rewards import Reward

SCORES = ("correct", "lenient_correct", "valid_format", "strict_format")
"""Fields of a grade that the integrations report, each as 1.0 or 0.0."""


def restored(text: str | None, reasoning: str | None = None, prefix: str = "") -> str:
    """Return a response with the parts that a framework or server has removed.

    Args:
        text: the response as returned; None counts as "".
        reasoning: content of the think block, if a server returned it in a field of its own; else None. It is placed
            before the text: its white space, and text that preceded it, cannot be restored.
        prefix: start of the response that the chat template has written into the prompt, such as "<think>". It is
            ignored if there is `reasoning`, because the server then has already read the tag.
    """
    return (prefix if reasoning is None else f"<think>{reasoning}</think>") + (text or "")


def grade_response(
    text: str | None,
    options: Sequence[object],
    gold: object,
    answer_format: AnswerFormat = "tagged",
    *,
    reasoning: str | None = None,
    prefix: str = "",
    truncated: bool = False,
) -> Grade:
    """Grade one response.

    Args:
        text, reasoning, prefix: as for `restored`.
        options: the option texts, as a list, tuple or array.
        gold: the correct option: its index from 0, or its letter.
        answer_format, truncated: as for `medrlvr.grading.grade`.

    Raises:
        ValueError: `gold` is not one of the options.
    """
    texts = [str(option) for option in options]
    response = restored(text, reasoning, prefix)
    return grade(response, texts, option_index(gold, len(texts)), answer_format, truncated=truncated)


def scores(found: Grade) -> dict[str, float]:
    """Return the reported fields of a grade, by name."""
    return {name: float(getattr(found, name)) for name in SCORES}


def cached_reward(setting: Setting) -> Reward:
    """Return the reward of a setting, which is tested only once; raises the errors of `load_reward`."""
    if not isinstance(setting, str):  # a configuration's own mappings are not JSON
        setting = {name: dict(facts) if isinstance(facts, Mapping) else facts for name, facts in setting.items()}
    return reward_from_json(reward_to_json(setting))
