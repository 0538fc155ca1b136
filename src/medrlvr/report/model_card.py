"""The card (README.md) of a trained model: what it is made of and what it must not be used for."""

from collections.abc import Mapping
from typing import Any

import yaml

_RLVR = (
    "Reinforcement learning from verifiable rewards, the option letter as its only signal (arXiv 2502.19655,\n"
    "section 2), by PPO's clipped loss with "
)
_TRAINERS = {
    "sft": "Supervised fine-tuning on question and option letter (arXiv 2502.19655, section 3.3).",
    "gae": f"{_RLVR}a learned critic, as in the paper.",
    "reinforce++": f"{_RLVR}REINFORCE++ (arXiv 2501.03262) in the place of the critic.",
    "grpo": f"{_RLVR}GRPO's advantages (arXiv 2402.03300) in the place of the critic.",
    "rloo": f"{_RLVR}RLOO's advantages (arXiv 2402.14740) in the place of the critic.",
}

_CARD = """\
---
{front}---

# {model}

**Research only: not medical advice, and no part of a medical device.**

{trainer}

- Checkpoint: {candidate}, {reason}{accuracy}. No test question had a part in the choice.
- Base model: {base}; licence: {base_licence}, which also binds this model.
- Training data: {data}; licence: {data_licence}; {citation}.

## Settings

```yaml
{settings}```

## Use

To study how training shapes answers to multiple-choice questions. It was trained for the letter of an answer and for
nothing else: what it gives as reasons may be wrong, or no reasons at all, while the letter is right. It was not tested
for safety, for bias, or on anything but multiple-choice questions, and must not be used for the care of anybody.
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
    candidate: Mapping[str, Any],
    reason: str,
) -> str:
    """Return the card's text.

    Args:
        model: its name, such as rlvr_dev/seed1.
        base: of base.json: name, and origin in words.
        settings: of the run, as in training.yaml; `trainer` is sft, or rlvr with its `advantage_estimator`.
        candidate: a row of `select.choose`: candidate, n, accuracy.
        reason: why this one was taken.
    """
    front = {
        "base_model": base["name"],
        "license": "other",
        "license_name": base_licence,
        "library_name": "transformers",
        "tags": ["medical", "multiple-choice", settings["trainer"], "research-only"],
    }
    known = (
        f" ({100 * candidate['accuracy']:.1f} % of {candidate['n']} development questions)" if candidate["n"] else ""
    )
    return _CARD.format(
        front=yaml.safe_dump(front, sort_keys=False),
        model=model,
        trainer=_TRAINERS[settings.get("advantage_estimator", settings["trainer"])],
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
