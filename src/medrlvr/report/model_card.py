"""The card (README.md) of a trained model: how it was trained, and what it must not be used for."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_RLVR = (
    "Reinforcement learning from verifiable rewards, with the {answer} as the only signal (arXiv 2502.19655,\n"
    "section 2), with PPO's clipped loss and "
)
_TRAINERS = {
    "sft": "Supervised fine-tuning on question and {answer} (arXiv 2502.19655, section 3.3).",
    "own_responses": "Supervised fine-tuning on the base's own right responses (rejection sampling), a control.",
    "gae": f"{_RLVR}a learned critic, as in the paper.",
    "reinforce++": f"{_RLVR}REINFORCE++ (arXiv 2501.03262) instead of a critic.",
    "grpo": f"{_RLVR}GRPO's advantages (arXiv 2402.03300) instead of a critic.",
    "dr_grpo": f"{_RLVR}Dr. GRPO's advantages and mean over all tokens (arXiv 2503.20783) instead of a critic.",
    "rloo": f"{_RLVR}RLOO's advantages (arXiv 2402.14740) instead of a critic.",
}

_CARD = """\
---
{front}---

# {model}

**Research only: not medical advice, and no part of a medical device.**

{trainer}{control}

- Checkpoint: {candidate}, {reason}{accuracy}. No benchmark question was used for the selection.
- Base model: {base}; licence: {base_licence}, which also binds this model.
- Training data: {data}; licence: {data_licence}; {citation}.

## Settings

```yaml
{settings}```

## Use

Use it to study how training changes answers to {questions}. It was trained only on {signal}: \
its reasons may be wrong or missing even if the {right} is right. It was not tested for safety, for bias, or on
tasks other than {questions}, and must not be used in patient care.
"""


def model_card(
    model: str,
    *,
    base: Mapping[str, str],
    base_licence: str,
    data: str,
    data_licence: str,
    citation: str,
    settings: Mapping[str, Any],
    candidate: Mapping[Any, Any],
    reason: str,
    kinds: Sequence[str] = ("letter",),
) -> str:
    """Return the card's text.

    Args:
        model: name of the model, such as rlvr_dev/seed1.
        base: contents of base.json: name and origin of the base model.
        base_licence: licence of the base model.
        data: name of the training data.
        data_licence: licence of the training data.
        citation: citation of the training data.
        settings: settings of the run, as in training.yaml; `trainer` is sft, or rlvr with an `advantage_estimator`.
        candidate: a row of `evaluation.selection.select_best`: candidate, n, accuracy.
        reason: why this candidate was selected.
        kinds: kinds of the training answers: letter, number or text.
    """
    has_letters = list(kinds) == ["letter"]
    answer = " or ".join("option letter" if kind == "letter" else f"correct {kind}" for kind in kinds)
    front = {
        "base_model": base["name"],
        "license": "other",
        "license_name": base_licence,
        "library_name": "transformers",
        "tags": ["medical", *(["multiple-choice"] if has_letters else []), settings["trainer"], "research-only"],
    }
    known = (
        f" ({100 * candidate['accuracy']:.1f} % of {candidate['n']} development questions)" if candidate["n"] else ""
    )
    return _CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        model=model,
        trainer=_TRAINERS[_trainer(settings)].format(answer=answer),
        questions="multiple-choice questions" if has_letters else "questions of the same kind",
        control=_control(settings),
        signal=_signal(settings, has_letters),
        right="letter" if has_letters else "answer",
        candidate=candidate["candidate"],
        reason=reason,
        accuracy=known,
        base=base["origin"],
        base_licence=base_licence,
        data=data,
        data_licence=data_licence,
        citation=citation,
        settings=yaml.safe_dump(dict(settings), sort_keys=False),
    )


def _trainer(settings: Mapping[str, Any]) -> str:
    """Return the key of `_TRAINERS`."""
    if settings.get("targets") == "own_responses":
        return "own_responses"
    return str(settings.get("advantage_estimator", settings["trainer"]))


def _control(settings: Mapping[str, Any]) -> str:
    """Return a sentence on a control whose reward does not know the right answer, or nothing."""
    reward = settings.get("reward", {})
    terms = {reward} if isinstance(reward, str) else {*reward}
    if "random" in terms:
        return " This model is a control: a random draw takes the place of the right answer in its reward."
    if "format_only" in terms and len(terms) == 1:
        return " This model is a control: only the format was rewarded, not the answer."
    if settings.get("labels", "gold") != "gold":
        return " This model is a control: its reward counted another letter as right than the correct one."
    return ""


def _signal(settings: Mapping[str, Any], has_letters: bool) -> str:
    if settings.get("targets") == "own_responses":
        return "responses with the right\nletter"
    return "the letter of an\nanswer" if has_letters else "the correct\nanswer"
