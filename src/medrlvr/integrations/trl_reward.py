"""A reward function for TRL's trainers with verifiable rewards: GRPOTrainer and RLOOTrainer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from medrlvr.grading.grader import AnswerFormat
from medrlvr.grading.reward_config import Setting
from medrlvr.integrations.responses import cached_reward, grade_response, scores

Completion = str | Sequence[Mapping[str, Any]]
"""A text after a plain prompt; a list of messages after a chat prompt, of which the last is graded."""


class Tokenizer(Protocol):
    """What `trl_reward` needs of a tokenizer."""

    eos_token_id: int

    def decode(self, token_ids: Sequence[int], **how: bool) -> str:
        """Return the text of token ids."""


def trl_reward(
    reward: Setting = "paper",
    answer_format: AnswerFormat = "tagged",
    *,
    prefix: str = "",
    tokenizer: Tokenizer | None = None,
) -> Callable[..., list[float]]:
    """Return a function for `reward_funcs`. The data set needs the columns `options` and `gold` (index or letter).

    Args:
        reward: as for `medrlvr.grading.load_reward`.
        answer_format: as for `medrlvr.grading.grade`.
        prefix: start of the response that the chat template has written into the prompt, such as "<think>".
        tokenizer: decode the token ids with it instead of grading TRL's text. TRL leaves out special tokens, so this
            is needed if the tags are special tokens. A response that does not end with `eos_token_id` then counts as
            truncated; without a tokenizer, none does.

    Raises:
        UserError: the reward cannot work.
    """
    terms = cached_reward(reward)

    def medrlvr_reward(
        completions: Sequence[Completion],
        options: Sequence[Sequence[str]],
        gold: Sequence[int | str],
        completion_ids: Sequence[Sequence[int]] | None = None,
        log_extra: Callable[[str, list[Any]], None] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: object,
    ) -> list[float]:
        if tokenizer is None or completion_ids is None:
            responses = [_returned(completion) for completion in completions]
        else:
            responses = [_decoded(ids, tokenizer) for ids in completion_ids]
        found = [
            grade_response(options=listed, gold=answer, answer_format=answer_format, prefix=prefix, **response)
            for response, listed, answer in zip(responses, options, gold, strict=True)
        ]
        if log_metric is not None:
            for name in scores(found[0]) if found else ():
                log_metric(name, sum(scores(one)[name] for one in found) / len(found))
        if log_extra is not None:
            log_extra("letter", [one.letter for one in found])
            log_extra("rule", [one.rule for one in found])
        return [terms(one) for one in found]

    return medrlvr_reward


def _returned(completion: Completion) -> dict[str, Any]:
    if isinstance(completion, str):
        return {"text": completion}
    message = completion[-1]
    return {"text": message["content"], "reasoning": message.get("reasoning_content") or None}


def _decoded(ids: Sequence[int], tokenizer: Tokenizer) -> dict[str, Any]:
    ended = bool(ids) and ids[-1] == tokenizer.eos_token_id
    written = ids[:-1] if ended else ids
    text = tokenizer.decode(written, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return {"text": text, "truncated": not ended}
