"""The order in which a run trains on its prompts: planned from the seed, so that a resumed run continues it exactly.

OpenRLHF 0.11.2 shuffles with a generator that it never seeds, and saves the state of its data loader. If an episode
ends in a partial update, the state that is saved there is "finished", and a resumed run serves the whole episode a
second time. Here the number of finished updates alone determines the position.
"""

import os
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

SEED_VARIABLE = "MEDRLVR_SEED"
"""Environment variable with the run's seed, which plans the order; `--train.seed` is another for each attempt."""


def episode_order(prompts: int, seed: int, episode: int) -> list[int]:
    """Return the positions of an episode's prompts in their order: a permutation of range(prompts).

    Args:
        prompts: number of training prompts.
        seed: the run's seed.
        episode: number of the episode, from 0.
    """
    return [int(position) for position in np.random.default_rng([seed, episode]).permutation(prompts)]


def planned_position(updates: int, prompts: int, per_update: int) -> tuple[int, int]:
    """Return the episode (from 0), and the number of its prompts already served, after `updates` finished updates.

    Args:
        per_update: prompts in one update; the last update of an episode has the remaining ones.
    """
    episode, update = divmod(updates, -(-prompts // per_update))
    return episode, update * per_update


class PromptOrder(Sampler[int]):
    """Serves every episode's prompts in the planned order, to the patched trainer of `patches.py`."""

    def __init__(self, prompts: int, per_update: int) -> None:
        """Read the seed from the environment.

        Args:
            prompts: number of training prompts.
            per_update: prompts in one update.
        """
        self._prompts, self._per_update = prompts, per_update
        self._seed = int(os.environ[SEED_VARIABLE])
        self._episode, self._served = 0, 0

    def resume(self, updates: int) -> int:
        """Continue after `updates` finished updates; return the episode in which the next update is."""
        self._episode, self._served = planned_position(updates, self._prompts, self._per_update)
        return self._episode

    def start(self, episode: int) -> None:
        """Serve an episode next: from its first prompt, unless the run resumes within it."""
        if episode != self._episode:
            self._episode, self._served = episode, 0

    def __iter__(self) -> Iterator[int]:
        """Return the remaining positions of the current episode."""
        return iter(episode_order(self._prompts, self._seed, self._episode)[self._served :])

    def __len__(self) -> int:
        """Return the number of prompts in an episode."""
        return self._prompts
