from typing import Any

import pytest
import yaml

from medrlvr.config import load
from medrlvr.errors import UserError


def values(**changes: Any) -> dict[str, Any]:
    with open("config/config.yaml", encoding="utf-8") as file:
        return yaml.safe_load(file) | changes


def rlvr(**changes: Any) -> dict[str, Any]:
    return values(arms={"rlvr": {"trainer": "rlvr", **changes}})


def test_the_papers_experiment_loads() -> None:
    experiment = load(values(), "config/config.yaml")
    assert experiment.models() == ["base", "sft/seed1", "rlvr/seed1"]
    assert experiment.modes("base") == ("direct", "chain_of_thought")
    assert experiment.modes("rlvr/seed1") == ("chain_of_thought",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (values(machin={}), "machin: unknown key; did you mean machine?"),
        (rlvr(gae_lamda=1), "arms.rlvr.gae_lamda: unknown key; did you mean gae_lambda?"),
        (rlvr(xyzzy=1), "arms.rlvr.xyzzy: unknown key; known keys: actor_learning_rate"),
        (rlvr(episodes=0), r"arms.rlvr.episodes: Input should be greater than 0 \(value: 0\)"),
        (rlvr(train_batch_size=100), "arms.rlvr: .* = 7424 is not a multiple of train_batch_size = 100"),
        (values(arms={"base": {"trainer": "sft"}}), "'base' cannot be an arm's name"),
        (values(arms={"x": {"trainer": "dpo"}}), "arms.x: .*'sft', 'rlvr'"),
        (
            values(machine={"train_micro_batch": 24}),
            "arms.rlvr.train_batch_size = 128 cannot be divided among 4 GPUs .*train_micro_batch = 24",
        ),
        (values(machine={"rollout_micro_batch": 24}), "in micro-batches of machine.rollout_micro_batch = 24"),
        (
            values(machine={"gpus_per_node": 3, "vllm_engines": 3}),
            "arms.sft.batch_size = .* cannot be divided among 3 GPUs",
        ),
        (values(machine={"vllm_engines": 3}), "machine: vllm_engines = 3 cannot share gpus_per_node = 4 evenly"),
        (values(arms={"sft": {"trainer": "sft"}}), "arms: there is none with trainer: rlvr"),
        (values(benchmarks={"medqa": None, "mmlu_pro_health": None}), "benchmarks: there is none"),
        (values(experiment="a/b"), "experiment: .*pattern"),
    ],
)
def test_a_mistake_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(changed, "here.yaml")


def test_every_problem_is_listed_with_the_file() -> None:
    with pytest.raises(UserError) as caught:
        load(values(machin={}, titel="x"), "here.yaml")
    assert "here.yaml" in str(caught.value)
    assert str(caught.value).count("\n") == 2
