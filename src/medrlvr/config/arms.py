"""Training arms: the settings of supervised fine-tuning and of RLVR (paper, section 3.3 and Table 2)."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from medrlvr.config.base import Fraction, Modes, Positive, Rate, Seeds, Settings

LATER_KEYS: Mapping[str, Any] = {"labels": "gold", "targets": "letter", "clip_high": None, "importance_weights": None}
"""Keys that did not exist in the first runs -> the value with which an arm trains as before.

With this value, a key is left out of everything that identifies a run: the parameters of its rule, its state and the
fingerprints of the reference. A test compares the trainer's command lines with those of the first runs.
"""


class SftArm(Settings):
    """Supervised fine-tuning on question and letter (paper, section 3.3), with OpenRLHF's train_sft."""

    trainer: Literal["sft"]
    """Paper: the kind of training. It determines which other keys are allowed."""
    seeds: Seeds = (1,)
    """Paper: one run, as far as stated. Each seed is one run; three or more give an interval over training seeds."""
    modes: Modes = ("direct", "chain_of_thought", "loglikelihood")
    """Paper: direct, as in training. Ours: the other modes, as controls. The first mode is used for model selection and
    for the main comparisons."""
    epochs: Positive = 10
    """Paper: passes over the training questions."""
    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-5, 5e-6, 1e-6)
    """Paper: the grid. One model is trained with each rate; the best on the development questions is selected."""
    batch_size: Positive = 128
    """Ours: questions per optimiser step."""
    max_tokens: Positive = 1040
    """Ours: maximum tokens of prompt and letter together. A longer question stops the run; it is never truncated. With
    targets: own_responses, at least the maximum of RLVR's prompt and response."""
    targets: Literal["letter", "own_responses"] = "letter"
    """Paper: letter, after the direct prompt. Ours: own_responses are the base's right responses to the prompt for
    reasoning, from as many samples as RLVR draws (rejection sampling, docs/controls.md)."""


class RlvrArm(Settings):
    """Reinforcement learning from verifiable rewards (paper, sections 2.1 and 2.2), with OpenRLHF's train_ppo_ray."""

    trainer: Literal["rlvr"]
    """Paper: the kind of training. It determines which other keys are allowed."""
    seeds: Seeds = (1,)
    """Paper: one run, as far as stated. Each seed is one run; three or more give an interval over training seeds."""
    modes: Modes = ("chain_of_thought", "direct", "loglikelihood")
    """Paper: chain of thought, as in training. Ours: the other modes, as controls. The first mode is used for model
    selection and for the main comparisons."""
    reward: str | dict[str, float | dict[str, float]]
    """Paper: `paper` is -1 without a valid format, 0 for a wrong letter and +1 for the correct one. Other values: a
    reward of docs/rewards.md, your own Python file with a function `reward(grade)`, or several, each with a weight."""
    labels: Literal["gold", "majority", "wrong"] = "gold"
    """Paper: gold. The letter that the reward counts as right. Ours, as controls: the most frequent letter of the base
    (majority) or one wrong option (wrong). Accuracies always use the right option (docs/controls.md)."""
    rows: Positive | None = None
    """Ours: number of training questions, taken from the start of the set. null: all."""
    episodes: Positive = 10
    """Paper: passes over the training questions."""
    prompts_per_update: Positive = 928
    """Ours: prompts in one update. 928 gives 11 updates per episode for 9,281 to 10,208 questions, and 110 updates in
    total, as in Figure 2."""
    samples_per_prompt: Positive = 8
    """Ours, as in simpleRL-reason, which the paper cites: responses per prompt. Try 1 first to test sensitivity."""
    train_batch_size: Positive = 128
    """Ours: responses per optimiser step."""
    ppo_epochs: Positive = 1
    """Ours: passes over the responses of one update."""
    actor_learning_rate: Rate = 5e-7
    """Ours, as in simpleRL-reason. Small models need and tolerate larger rates."""
    critic_learning_rate: Rate = 9e-6
    """Ours, as in simpleRL-reason. Ignored if there is no critic, like gae_lambda and value_clip_range."""
    warmup_ratio: Fraction = 0.03
    """Ours: fraction of the run in which the learning rate rises. It then decays along a cosine to a tenth."""
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.01
    """Ours: the paper's beta. It weights the KL divergence of each token from the base (k1) inside the reward, for
    every estimator; larger values keep the model closer to the base. 0: no reference model is loaded and no KL is
    measured."""
    advantage_estimator: Literal["gae", "reinforce++", "grpo", "rloo", "dr_grpo"] = "gae"
    """Paper: PPO, which includes gae with a critic. The others have no critic: reinforce++ normalises the returns of an
    update; grpo, rloo and dr_grpo compare the responses to one prompt, so they need two or more. dr_grpo divides
    neither by the standard deviation nor by the length of each response."""
    gamma: Fraction = 1.0
    """Ours: discount factor of later rewards. 1: no discount."""
    gae_lambda: Fraction = 0.95
    """Ours: lambda of GAE. Larger values give less bias and more variance. Use 1 for short responses."""
    clip_range: Rate = 0.2
    """Ours: the paper's epsilon, the clip range of the probability ratio. Larger values allow larger policy changes."""
    clip_high: Rate | None = None
    """Ours: the clip range above a ratio of 1, if it differs from clip_range, which then holds below 1 (DAPO's
    clip-higher). Larger values let rare tokens become more probable. null: clip_range on both sides, as the paper."""
    importance_weights: tuple[Annotated[float, Field(ge=0)], Rate] | None = None
    """Ours: smallest and largest weight of a token, the ratio of the trainer's and vLLM's probability, with which its
    loss is multiplied ([0, 2]: truncated importance sampling). null: no weights."""
    value_clip_range: Rate = 0.2
    """Ours: how far the critic's values may move in an update."""
    max_gradient_norm: Rate = 1.0
    """Ours: largest gradient norm; larger gradients are scaled down to it."""
    temperature: Rate = 1.0
    """Ours: sampling temperature of the training responses."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Ours: nucleus sampling of the training responses. 1: all tokens are allowed."""
    prompt_max_tokens: Positive = 1024
    """Ours: maximum tokens of a prompt. A longer question stops the run; it is never truncated."""
    response_max_tokens: Positive = 1024
    """Ours: maximum tokens of a response. A longer response is truncated and then has no valid format."""
    save_every: Positive = 4
    """Paper, spacing of the points in Figure 2: updates between two saved models. Each is evaluated on held-out
    questions. A trainer state is saved at the same time, and the last two are kept for resuming."""

    @property
    def has_critic(self) -> bool:
        """Whether a second model is trained that predicts the actor's returns."""
        return self.advantage_estimator == "gae"

    @property
    def has_reference(self) -> bool:
        """Whether the base is also loaded, to measure the KL divergence between actor and base."""
        return self.kl_coefficient > 0


Arm = Annotated[SftArm | RlvrArm, Field(discriminator="trainer")]


def training_settings(arm: Arm) -> dict[str, Any]:
    """Return the settings that determine one training run. As a rule's parameter, only these trigger training."""
    return without_neutral(arm.model_dump(mode="json", exclude={"seeds", "modes", "learning_rates"}))


def without_neutral(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return an arm's settings without the keys of `LATER_KEYS` that have their neutral value."""
    return {key: value for key, value in settings.items() if key not in LATER_KEYS or value != LATER_KEYS[key]}


def update_sizes(prompts: int, per_update: int, episodes: int) -> list[int]:
    """Return the number of prompts of every update; the last update of an episode has the remaining ones."""
    episode = [min(per_update, prompts - start) for start in range(0, prompts, per_update)]
    return episode * episodes
