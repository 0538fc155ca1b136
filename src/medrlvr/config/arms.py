"""Training arms: the settings of supervised fine-tuning and of RLVR (paper, section 3.3 and Table 2)."""

from typing import Annotated, Any, Literal

from pydantic import Field

from medrlvr.config.base import Fraction, Modes, Positive, Rate, Seeds, Settings


class SftArm(Settings):
    """Supervised fine-tuning on question and letter (paper, section 3.3), by OpenRLHF's train_sft."""

    trainer: Literal["sft"]
    """Paper. What kind of arm this is; it decides which keys may follow."""
    seeds: Seeds = (1,)
    """Paper: one run, as far as it says. Three or more give an interval over training seeds."""
    modes: Modes = ("direct", "chain_of_thought", "loglikelihood")
    """Paper: direct, as trained. Ours: the others, as controls. By the first it is chosen and judged."""
    epochs: Positive = 10
    """Paper."""
    learning_rates: Annotated[tuple[Rate, ...], Field(min_length=1)] = (1e-5, 5e-6, 1e-6)
    """Paper: the grid. Each is trained; the one best on the development questions is kept."""
    batch_size: Positive = 128
    """Ours: questions in an optimiser step."""
    max_tokens: Positive = 1040
    """Ours: room for prompt and letter. A longer question stops the run, it is never cut."""


class RlvrArm(Settings):
    """Reinforcement learning from verifiable rewards (paper, sections 2.1 and 2.2), by OpenRLHF's train_ppo_ray."""

    trainer: Literal["rlvr"]
    """Paper. What kind of arm this is; it decides which keys may follow."""
    seeds: Seeds = (1,)
    """Paper: one run, as far as it says. Three or more give an interval over training seeds."""
    modes: Modes = ("chain_of_thought", "direct", "loglikelihood")
    """Paper: chain of thought, as trained. Ours: the others, as controls. By the first it is chosen and judged."""
    reward: str | dict[str, float | dict[str, float]]
    """Paper: `paper` is -1 without a valid format, 0 for a wrong letter, +1 for the right one. docs/rewards.md has the
    others. Or a Python file of yours with a function `reward(grade)`; or several, each with its weight."""
    rows: Positive | None = None
    """Ours: only the first so many training questions; null takes all."""
    episodes: Positive = 10
    """Paper: passes over the training questions."""
    prompts_per_update: Positive = 928
    """Ours: 11 updates in an episode for 9,281 to 10,208 questions, 110 in all, as Figure 2 shows."""
    samples_per_prompt: Positive = 8
    """Ours, as the sibling recipe that the paper cites. 1 is the first thing to try for sensitivity."""
    train_batch_size: Positive = 128
    """Ours: responses in an optimiser step."""
    ppo_epochs: Positive = 1
    """Ours: passes over the responses of an update."""
    actor_learning_rate: Rate = 5e-7
    """Ours, as the sibling recipe. Small models need, and bear, larger ones."""
    critic_learning_rate: Rate = 9e-6
    """Ours, as the sibling recipe. Of no effect without a critic, like gae_lambda and value_clip_range."""
    warmup_ratio: Fraction = 0.03
    """Ours: share of the run over which the learning rate rises; then it falls along a cosine to a tenth."""
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.01
    """Ours: the paper's beta, for the KL of every token to the base (k1), inside the reward, whatever the estimator. 0:
    none, and so no reference model is loaded and no KL is measured."""
    advantage_estimator: Literal["gae", "reinforce++", "grpo", "rloo"] = "gae"
    """Paper: PPO, of which gae with its critic is part. The others have no critic: reinforce++ normalises the returns
    of an update; grpo and rloo compare the responses to one prompt, and so need several."""
    gamma: Fraction = 1.0
    """Ours: discount of later rewards."""
    gae_lambda: Fraction = 0.95
    """Ours: lambda of GAE. 1 for short responses, where there is no variance to trade for bias."""
    clip_range: Rate = 0.2
    """Ours: the paper's epsilon, for the ratio of probabilities."""
    value_clip_range: Rate = 0.2
    """Ours: how far the critic moves in an update."""
    max_gradient_norm: Rate = 1.0
    """Ours: larger gradients are scaled down to it."""
    temperature: Rate = 1.0
    """Ours: of the sampled responses."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Ours: of the sampled responses."""
    prompt_max_tokens: Positive = 1024
    """Ours. A longer question stops the run, it is never cut."""
    response_max_tokens: Positive = 1024
    """Ours. A longer response is cut, and has then no valid format."""
    save_every: Positive = 4
    """Paper: the grid of Figure 2, in updates. Held-out accuracy is measured, and a run can be resumed, there."""

    @property
    def has_critic(self) -> bool:
        """Whether a second model is trained, which expects what the actor will earn."""
        return self.advantage_estimator == "gae"

    @property
    def has_reference(self) -> bool:
        """Whether the base is kept beside the actor, to measure their KL."""
        return self.kl_coefficient > 0


Arm = Annotated[SftArm | RlvrArm, Field(discriminator="trainer")]


def training_settings(arm: Arm) -> dict[str, Any]:
    """Return what decides one training run of an arm: a rule's parameter, so that only these keys train again."""
    return arm.model_dump(mode="json", exclude={"seeds", "modes", "learning_rates"})


def update_sizes(prompts: int, per_update: int, episodes: int) -> list[int]:
    """Return the number of prompts of every update: the last of an episode takes what is left."""
    episode = [min(per_update, prompts - start) for start in range(0, prompts, per_update)]
    return episode * episodes
