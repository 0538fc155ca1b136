"""Resuming exactly: the planned order of prompts in the pinned trainer; checkpoints; the state folder; seeds."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from medrlvr.config.arms import RlvrArm, update_sizes
from medrlvr.config.machine import Machine
from medrlvr.training.resume import checkpoints as checkpointing
from medrlvr.training.resume.checkpoints import (
    HASHES,
    MODEL,
    SINGLE,
    Restored,
    complete_updates,
    damage,
    delete_trainer_states,
    delete_unplanned_models,
    part_folder,
    record_checkpoint,
    restore,
)
from medrlvr.training.resume.prompt_order import episode_order, planned_position
from medrlvr.training.run_state import (
    attempt_seed,
    delete_finished,
    is_finished,
    mark_finished,
    run_facts,
    state_folder,
)

ROOT = Path(__file__).parents[1]

# OpenRLHF's own loop, data loader and sample generator, without models: what is served, and which update it is for.
KILLED_ANYWHERE = """
import json, sys
from types import SimpleNamespace as Bag
import ray, torch
from openrlhf.trainer import ppo_trainer
from openrlhf.trainer.ppo_utils.samples_generator import SamplesGenerator
from openrlhf.utils.deepspeed.deepspeed import DeepspeedStrategy

Trainer = ppo_trainer.PPOTrainer.__ray_metadata__.modified_class
ppo_trainer.ray = Bag(get=lambda refs: refs)
ppo_trainer.record_checkpoint = lambda folder: None
ppo_trainer.stop_requested = lambda: False
ppo_trainer.watch_actors = lambda trainer: None


class Killed(Exception):
    pass


class Actor:
    states = None

    def async_run_method(self, method_name, **given):
        if method_name == "save_checkpoint":
            Actor.states = dict(given["client_states"])
        return [Actor.states]


def attempt(kill_at, prompts, per_update, episodes, save_every):
    # The prompts of every update until the run is killed before the end of update `kill_at`.
    served = []
    strategy = Bag(
        args=Bag(
            train=Bag(num_episodes=episodes), rollout=Bag(batch_size=per_update, n_samples_per_prompt=1),
            algo=Bag(dynamic_filtering_enable=False, kl=Bag(target=None, init_coef=0.0)), vllm=Bag(enable_sleep=False),
            eval=Bag(steps=10**9), logger=Bag(logging_steps=1),
            ckpt=Bag(save_steps=save_every, path="none", load_enable=True),
        )
    )
    trainer = object.__new__(Trainer)
    trainer.strategy, trainer.args, trainer.generate_kwargs = strategy, strategy.args, {}
    loader = DeepspeedStrategy.setup_dataloader(
        Bag(seed=1), list(range(prompts)), 1, False, True, lambda rows: (None, rows, rows, rows),
        sampler=ppo_trainer.PromptOrder(prompts, per_update),
    )
    trainer.prompts_dataloader, trainer.eval_dataloader = loader, None
    generator = SamplesGenerator(strategy, loader, None, None, [])

    def generate(dataloader_iter, num_prompts, **_):
        from openrlhf.trainer.ppo_utils.samples_generator import _collect_prompt_batch

        found, _, _, exhausted = _collect_prompt_batch(dataloader_iter, num_prompts)
        served.extend((generator.update, prompt) for prompt in found)
        return found, len(found), exhausted

    generator._generate_vllm = generate
    trainer.samples_generator = generator
    trainer.actor_model_group, trainer.critic_model_group = Actor(), None
    trainer.wandb_logger = trainer.tensorboard_logger = None
    trainer.best_eval_metric_key, trainer.best_eval_metric_value, trainer._latest_eval_metric_value = "", 0.0, None
    trainer.broadcast_to_vllm = lambda: None
    trainer.init_checkpoint_states = lambda: Actor.states or {
        "episode": 0, "global_step": 0, "total_consumed_prompts": 0, "data_loader_state_dict": {}
    }

    def train_step(samples, global_step):
        if global_step + 1 == kill_at:
            raise Killed
        return {}, global_step + 1

    trainer.train_step = train_step
    try:
        trainer.fit()
        done = True
    except Killed:
        done = False
    return served, Actor.states and Actor.states["global_step"], done


def every_kill(*plan):
    Actor.states = None
    whole, _, _ = attempt(None, *plan)
    runs = {}
    for kill_at in range(1, len({update for update, _ in whole}) + 1):
        Actor.states = None
        first, saved, done = attempt(kill_at, *plan)
        assert not done
        second, _, done = attempt(None, *plan)
        runs[kill_at] = [[row for row in first if row[0] <= (saved or 0)] + second, saved, done]
    return whole, runs


print(json.dumps([every_kill(*plan) for plan in json.loads(sys.argv[1])]))
"""


def patched(sets: str) -> dict[str, str]:
    """Return the variables that install sets of patches in a Python process."""
    folders = [str(ROOT / "src/medrlvr/training/startup"), str(ROOT / "src")]
    return {"PYTHONPATH": os.pathsep.join(folders), "MEDRLVR_PATCHES": sets, "DS_ACCELERATOR": "cpu"}


PLANS = {
    "partial updates": (24, 16, 3, 2),
    "full updates": (24, 8, 2, 2),
    "a checkpoint at every update": (10, 4, 3, 1),
    "an episode is one partial update": (5, 8, 3, 1),
}
"""Prompts, prompts per update, episodes, and updates between two checkpoints."""


@pytest.fixture(scope="module")
def attempts() -> dict[str, tuple[list, dict]]:
    """Of every plan: [update, prompt] of an undisturbed run, and by the update of a kill those of the whole run."""
    variables = patched("resume.patches cpu.adapter") | {"MEDRLVR_SEED": "1", "TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", KILLED_ANYWHERE, json.dumps([*PLANS.values()])]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(PLANS, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANS)
def test_after_a_kill_at_any_update_every_prompt_is_served_as_planned(name: str, attempts: dict) -> None:
    (prompts, per_update, episodes, _), (whole, runs) = PLANS[name], attempts[name]
    sizes = update_sizes(prompts, per_update, episodes)
    assert Counter(update for update, _ in whole) == dict(enumerate(sizes, 1))
    orders = [episode_order(prompts, 1, episode) for episode in range(episodes)]
    assert [prompt for _, prompt in whole] == [prompt for order in orders for prompt in order]
    assert [*runs] == [str(update) for update in range(1, len(sizes) + 1)]
    for kill_at, (served, saved, done) in runs.items():
        assert done and served == whole, f"killed during update {kill_at}, resumed after {saved}"


def test_an_episodes_order_follows_from_seed_and_number() -> None:
    orders = {(seed, episode): tuple(episode_order(50, seed, episode)) for seed in (1, 2) for episode in (0, 1)}
    assert all(sorted(order) == [*range(50)] for order in orders.values())
    assert len(set(orders.values())) == 4
    assert episode_order(50, 1, 0) == episode_order(50, 1, 0)


@pytest.mark.parametrize(
    ("updates", "position"), [(0, (0, 0)), (1, (0, 16)), (2, (1, 0)), (3, (1, 16)), (5, (2, 16)), (6, (3, 0))]
)
def test_the_position_follows_from_the_finished_updates(updates: int, position: tuple[int, int]) -> None:
    assert planned_position(updates, prompts=24, per_update=16) == position


def test_adams_moments_are_offloaded_again_after_a_resume() -> None:
    """torch loads DeepSpeed's host buffers to the device of the parameter: here "meta" is the device."""
    code = """
import torch
from deepspeed.runtime.zero import offload_states
on_device = lambda: torch.zeros(3, device="meta")
loaded = {"exp_avg": on_device(), "exp_avg_sq": on_device(), "exp_avg_offload_buffer": on_device()}
optimizer = type("Optimizer", (), {"state": {0: loaded}})
copied = []
torch.Tensor.copy_ = lambda self, other, non_blocking=False: copied.append((self.device.type, other.device.type))
try:
    offload_states.offload_adam_states(optimizer, torch.device("cpu"))
except RuntimeError as error:
    assert "incompatible tensor type" in str(error), error
print(loaded["exp_avg_offload_buffer"].device.type, copied[0])
"""
    printed = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | patched("resume.patches"), capture_output=True, text=True
    )
    assert printed.stdout.splitlines()[-1:] == ["cpu ('cpu', 'meta')"], printed.stderr


def test_the_newest_checkpoint_is_kept_after_the_clock_has_gone_backwards(tmp_path: Path) -> None:
    code = """
import os, sys
from types import SimpleNamespace as Bag
import deepspeed
from openrlhf.utils.deepspeed import deepspeed as module


class Engine(deepspeed.DeepSpeedEngine):
    def save_checkpoint(self, save_dir, tag, **_):
        os.makedirs(os.path.join(save_dir, tag))


module.torch_dist_barrier_and_cuda_sync = lambda: None
strategy = Bag(
    is_rank_0=lambda: True, print=print, stage=0,
    _read_ckpt_metric=lambda _: None, _write_ckpt_metric=lambda *_, **__: None,
)
module.DeepspeedStrategy.save_ckpt(strategy, object.__new__(Engine), sys.argv[1], "global_step10", 2)
os._exit(0)
"""
    for update, modified in ((6, 3000), (8, 2000)):
        (tmp_path / f"global_step{update}").mkdir()
        os.utime(tmp_path / f"global_step{update}", (modified, modified))
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | patched("resume.patches cpu.adapter"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["global_step10", "global_step8"]


PARTS = ("_actor", "_critic", MODEL)


def save(checkpoints: Path, update: int, parts: Sequence[str] = PARTS, recorded: bool = True) -> None:
    """Write a checkpoint as OpenRLHF does, each part with two files."""
    for part in parts:
        folder = part_folder(checkpoints, part, update)
        (folder / "inner").mkdir(parents=True)
        (folder / "weights").write_bytes(f"{part} {update}".encode() * 100)
        (folder / "inner" / "states.pt").write_bytes(b"x" * update)
        if part != MODEL:
            (folder.parent / "latest").write_text(f"global_step{update}")
        if recorded:
            record_checkpoint(folder)


def flip(file: Path) -> None:
    """Change one bit."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_all_parts_resume_from_the_newest_checkpoint_that_all_have(tmp_path: Path) -> None:
    save(tmp_path, 4)
    save(tmp_path, 8, ("_actor",))
    assert restore(tmp_path, PARTS) == Restored(4)
    assert [(tmp_path / part / "latest").read_text() for part in PARTS[:2]] == ["global_step4"] * 2
    # Otherwise OpenRLHF would delete update 4, the older one, before it saves update 8 again.
    assert not (tmp_path / "_actor/global_step8").exists()
    save(tmp_path, 8)
    assert restore(tmp_path, PARTS) == Restored(8)


@pytest.mark.parametrize("part", PARTS)
def test_a_partly_written_part_is_not_used(tmp_path: Path, part: str) -> None:
    save(tmp_path, 4)
    save(tmp_path, 8)
    (part_folder(tmp_path, part, 8) / HASHES).unlink()
    assert restore(tmp_path, PARTS) == Restored(4)
    assert complete_updates(tmp_path, PARTS) == [4]


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (flip, "has changed since it was written"),
        (lambda file: file.write_bytes(file.read_bytes()[:-1]), "has changed since it was written"),
        (Path.unlink, "is missing"),
        (lambda file: file.write_bytes(b""), "has changed since it was written"),
    ],
)
@pytest.mark.parametrize("part", PARTS)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    tmp_path: Path, part: str, harm: Callable[[Path], None], told: str
) -> None:
    for update in (4, 8, 12):
        save(tmp_path, update)
    harm(part_folder(tmp_path, part, 12) / "inner" / "states.pt")
    found = restore(tmp_path, PARTS)
    assert found.update == 8
    (sentence,) = found.damaged
    assert sentence.startswith("the checkpoint after update 12 is damaged and was not used: ")
    assert told in sentence and str(part_folder(tmp_path, part, 12) / "inner" / "states.pt") in sentence
    # It is deleted, so that no later checkpoint of another update is deleted in its place.
    assert complete_updates(tmp_path, PARTS) == [4, 8]


def test_a_state_that_the_trainer_did_not_write_is_not_loaded(tmp_path: Path) -> None:
    """DeepSpeed would unpickle it."""
    save(tmp_path, 4)
    save(tmp_path, 8)
    (tmp_path / "_actor/global_step8/zero_pp_rank_1_optim_states.pt").write_bytes(b"pickled")
    found = restore(tmp_path, PARTS)
    assert found.update == 4 and "optim_states.pt is not a file that the run's trainer wrote" in found.damaged[0]


def test_states_of_other_nodes_are_waited_for(tmp_path: Path) -> None:
    def write_later() -> None:
        time.sleep(0.5)
        (tmp_path / "rank1_optim_states.pt").write_text("late")

    (tmp_path / "rank0_optim_states.pt").write_text("early")
    thread = threading.Thread(target=write_later)
    thread.start()
    record_checkpoint(tmp_path, shards=2)
    thread.join()
    assert damage(tmp_path) is None and "rank1" in (tmp_path / HASHES).read_text()


def test_a_checkpoint_without_the_states_of_another_node_is_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checkpointing, "_LATENCY", 0.0)
    (tmp_path / "rank0_optim_states.pt").write_text("early")
    record_checkpoint(tmp_path, shards=2)
    assert not (tmp_path / HASHES).exists() and "has 1 of 2 optimiser states" in capsys.readouterr().out


def test_a_damaged_list_of_hashes_is_damage(tmp_path: Path) -> None:
    save(tmp_path, 4)
    save(tmp_path, 8)
    (tmp_path / "_actor/global_step8" / HASHES).write_text("{")
    assert restore(tmp_path, PARTS).update == 4


def test_a_diverged_update_is_not_resumed_from(tmp_path: Path) -> None:
    for update in (4, 8, 12):
        save(tmp_path, update)
    assert restore(tmp_path, PARTS, before=8) == Restored(4)
    assert complete_updates(tmp_path, PARTS) == [4]


def test_without_a_critic_training_resumes_from_the_actors_checkpoint(tmp_path: Path) -> None:
    save(tmp_path, 4, ("_actor", MODEL))
    assert restore(tmp_path, ("_actor", MODEL)) == Restored(4)
    assert restore(tmp_path, PARTS) == Restored(0)


def test_without_a_common_checkpoint_training_restarts(tmp_path: Path) -> None:
    assert restore(tmp_path / "none", PARTS) == Restored(0)
    save(tmp_path / "some", 4, ("_actor",))
    assert restore(tmp_path / "some", PARTS) == Restored(0)
    # A folder without a checkpoint in it makes OpenRLHF fail.
    assert not (tmp_path / "some").exists()


def test_models_of_requested_stops_are_deleted_once_their_states_are(tmp_path: Path) -> None:
    for update in (2, 3, 4, 5):
        save(tmp_path, update, PARTS if update > 3 else (MODEL,))
    delete_unplanned_models(tmp_path, PARTS, save_every=2)
    assert complete_updates(tmp_path, [MODEL]) == [2, 4, 5] and complete_updates(tmp_path, PARTS) == [4, 5]
    delete_unplanned_models(tmp_path / "none", PARTS, save_every=2)


@pytest.mark.parametrize("parts", [PARTS, ("_actor", MODEL), (SINGLE,)])
def test_a_finished_run_keeps_its_models_and_not_the_trainers_states(tmp_path: Path, parts: Sequence[str]) -> None:
    for update in (2, 4):
        save(tmp_path, update, parts)
    delete_trainer_states(tmp_path, parts)
    assert complete_updates(tmp_path, parts) == []
    assert MODEL not in parts or complete_updates(tmp_path, [MODEL]) == [2, 4]


def test_the_state_of_a_finished_run_is_deleted_when_its_models_are_used(tmp_path: Path) -> None:
    root, models = tmp_path / "state", tmp_path / "checkpoints/rlvr/seed1"
    for name, published in (("rlvr-a", models), ("rlvr-b", tmp_path / "checkpoints/rlvr/seed2"), ("sft-c", None)):
        (root / name).mkdir(parents=True)
        (root / name / "rows.jsonl").touch()
        if published:
            mark_finished(root / name, published)
    assert [folder.name for folder in sorted(root.iterdir()) if is_finished(folder)] == ["rlvr-a", "rlvr-b"]
    # One that an earlier, killed deletion left.
    (root / ".sft-d.deleted").mkdir()
    delete_finished(root, [models])
    assert sorted(folder.name for folder in root.iterdir()) == ["rlvr-b", "sft-c"]
    delete_finished(tmp_path / "absent", [models])


def test_sft_has_its_states_in_one_folder(tmp_path: Path) -> None:
    save(tmp_path, 3, (SINGLE,))
    save(tmp_path, 6, (SINGLE,), recorded=False)
    assert restore(tmp_path, (SINGLE,)) == Restored(3)
    assert (tmp_path / "latest").read_text() == "global_step3" and not (tmp_path / "global_step6").exists()


MACHINE = Machine(device="cpu")


def state(root: Path, base: Path, seed: int = 1, run: str = "rlvr, seed 1", **changes: object) -> tuple[Path, str]:
    arm = RlvrArm(trainer="rlvr", reward="paper").model_copy(update=changes)
    facts = run_facts(arm, MACHINE, seed=seed)
    folder, told = state_folder(root, "rlvr", run, [f"--seed={seed}"], facts, {"content of the base model": base})
    return folder, told or ""


def test_the_state_folder_follows_settings_and_content(tmp_path: Path) -> None:
    base, root = tmp_path / "base", tmp_path / "state"
    base.mkdir()
    (base / "model.safetensors").write_bytes(b"one")
    first, told = state(root, base)
    assert first.is_dir() and told == ""
    assert state(root, base) == (first, "")
    other, told = state(root, base, kl_coefficient=0.5)
    assert other != first
    assert told.startswith("rlvr, seed 1: starts from scratch, because this differs from the earlier, unfinished run: ")
    assert "kl_coefficient is 0.5 instead of 0.01. Its state remains in" in told and str(first) in told
    # Another run of the same experiment is not an earlier state of this one.
    assert state(root, base, seed=2, run="rlvr, seed 2")[1] == ""
    (base / "model.safetensors").write_bytes(b"other")
    third, told = state(root, base, kl_coefficient=0.5)
    assert third not in (first, other) and "unfinished run: content of the base model. Its state" in told


def test_a_state_that_another_run_deletes_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = ROOT / "docs/faults.json"
    state(tmp_path, base, run="rlvr, seed 1")
    glob = Path.glob

    def found(folder: Path, pattern: str) -> list[Path]:
        files = [*glob(folder, pattern)]
        for file in files:
            file.unlink()
        return files

    monkeypatch.setattr(Path, "glob", found)
    assert state(tmp_path, base, seed=2)[1] == ""


def test_each_attempt_draws_other_random_numbers() -> None:
    seeds = [attempt_seed(seed, done, 0) for seed in (1, 2) for done in (0, 4, 8)]
    assert seeds[0] == 1 and seeds[3] == 2 and len({*seeds}) == 6
    assert all(0 <= seed < 2**31 for seed in seeds) and attempt_seed(1, 4, 0) == seeds[1]
    assert len({attempt_seed(1, done, diverged) for done in (0, 4) for diverged in (0, 1, 2)}) == 6
