"""End a run when one of its Ray actors dies: OpenRLHF may otherwise wait for it until a time limit of 30 minutes."""

import os
import threading
from collections.abc import Mapping
from typing import Any

INTERVAL = 5.0
"""Seconds between two looks."""


def watch_actors(trainer: Any) -> None:
    """Watch all actors of the patched trainer in a thread; if one dies, print its name and end this process.

    Args:
        trainer: OpenRLHF's PPOTrainer, with groups of actors (None for those that the run does not have) and engines.
    """
    groups = {
        "policy": trainer.actor_model_group,
        "critic": trainer.critic_model_group,
        "reference model": trainer.reference_model_group,
    }
    actors = {
        f"{name} {number}": actor
        for name, group in groups.items()
        if group is not None
        for number, actor in enumerate(group._actor_handlers)
    }
    actors |= {f"vLLM engine {number}": engine for number, engine in enumerate(trainer.vllm_engines or [])}
    threading.Thread(target=_watch, args=(actors,), daemon=True).start()


def _watch(actors: Mapping[str, Any]) -> None:
    import ray
    from ray.exceptions import RayActorError

    # An actor answers between two of its tasks; a dead one fails at once.
    asked = {actor.__ray_ready__.remote(): name for name, actor in actors.items()}
    while True:
        answered, _ = ray.wait([*asked], num_returns=len(asked), timeout=INTERVAL)
        for reference in answered:
            name = asked.pop(reference)
            try:
                ray.get(reference)
            except RayActorError as error:
                print(f"ActorDiedError: the {name} died: {error}", flush=True)
                os._exit(1)
            asked[actors[name].__ray_ready__.remote()] = name
        if answered:
            threading.Event().wait(INTERVAL)
