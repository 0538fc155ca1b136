"""Reinforcement learning from verifiable rewards (paper, section 2), by OpenRLHF's `train_ppo_ray`.

One update: vLLM samples `samples_per_prompt` responses to each of `prompts_per_update` prompts; the reward hook grades
every response; PPO's clipped objective updates the policy on them. With `gae` a critic learns the value function. Each
token's reward is -`kl_coefficient` times its estimated KL to the base; the last token also receives the graded reward.
Advantages come from GAE; GRPO and RLOO compare the responses to one prompt, and REINFORCE++ normalises the returns of
the update. vLLM then receives the new weights.

Command: `launchers.rlvr_launcher` with the options of `openrlhf.rlvr_arguments`; on one GPU node
`python -m openrlhf.cli.train_ppo_ray ...`, saved as command.sh. An interrupted run resumes from its last checkpoint.
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from medrlvr.config.arms import RlvrArm, update_sizes
from medrlvr.config.evaluation import EvidenceSetting
from medrlvr.config.machine import Machine
from medrlvr.data.keys import kind_of
from medrlvr.grading.kinds import Kind
from medrlvr.grading.reward_config import load_reward, reward_to_json
from medrlvr.grading.version import reward_version
from medrlvr.models.folder import check_folder
from medrlvr.models.tokens import as_decoded, check_lengths
from medrlvr.runtime.environment import process_environment
from medrlvr.runtime.files import write_json_lines, write_parquet
from medrlvr.runtime.gpu_cache import repair_caches
from medrlvr.runtime.gpu_preflight import check_job
from medrlvr.runtime.hold import hold
from medrlvr.runtime.memory_watch import MemoryWatch
from medrlvr.runtime.processes import run_process, write_command
from medrlvr.runtime.step_log import Notify
from medrlvr.training import health, phase_watch
from medrlvr.training.compiled import compile_optimiser
from medrlvr.training.disk import check_disk, disk_needed, weights_in
from medrlvr.training.inputs import Row, end_of_text, fill_steps, read_training_rows
from medrlvr.training.launchers import (
    check_attention,
    check_wandb,
    ray_variables,
    rlvr_launcher,
    short_folder,
    wandb_variables,
)
from medrlvr.training.memory.fit import check_training
from medrlvr.training.openrlhf import NOWHERE, Paths, rlvr_arguments
from medrlvr.training.publish import exported, publish_events, publish_model, save_recipe
from medrlvr.training.resume.checkpoints import (
    MODEL,
    complete_updates,
    delete_trainer_states,
    delete_unplanned_models,
    restore,
)
from medrlvr.training.resume.prompt_order import SEED_VARIABLE
from medrlvr.training.rollouts import FAILURE_FILE, collect_rollouts, complete_rollouts, start_attempt
from medrlvr.training.run_state import (
    LOCK,
    PATIENCE,
    attempt_seed,
    checkpoint_layout,
    is_finished,
    mark_finished,
    run_facts,
    state_folder,
)
from medrlvr.training.trainer_metrics import (
    REFERENCE_METRICS,
    event_times,
    every_line,
    read_lines,
    read_metrics,
    set_events_aside,
)
from medrlvr.training.trainer_watch import RlvrWatch
from medrlvr.training.walltime import WalltimeGuard, requeued_when_out_of_time

METRICS_FILE = "metrics.jsonl"
"""File in the state folder with the metrics of every update, in the order in which they were printed."""

CLUSTER_GRACE = 20.0
"""Seconds for a Ray cluster to end its nodes itself; nodes that receive a signal directly cannot clean up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RlvrRun:
    """One run: settings, inputs and outputs.

    Attributes:
        arm, machine, seed: settings.
        name: the run's name in logs of other programs.
        display_name: the run's name in progress lines.
        base: folder of the base model, from which policy, critic and reference start.
        prompts: JSON lines with `input` (the whole prompt) and `label` (JSON: question_id and the key).
        models: output folder of the models `update<n>`, one after every `save_every` updates and one after the last.
        rollouts_table: output parquet, as `collect_rollouts` returns it.
        metrics_table: output parquet, as `read_metrics` returns it, without metrics that were not measured.
        events: output folder of TensorBoard event files.
        node_logs: folder for logs of Ray's nodes, if there are several.
        state: folder of all runs' states; a hash of everything that determines this run's result names its folder.
        evidence: the setting `evaluation.evidence`, for the reward-hacking monitor. It does not affect the result.
        phases: file that receives the time and the GPU memory of each phase, as `phase_watch` records them; None: they
            are not recorded.
    """

    arm: RlvrArm
    machine: Machine
    seed: int
    name: str
    display_name: str
    base: Path
    prompts: Path
    models: Path
    rollouts_table: Path
    metrics_table: Path
    events: Path
    node_logs: Path
    state: Path
    evidence: EvidenceSetting | None = None
    phases: Path | None = None

    @classmethod
    def inside(cls, folder: Path, **settings: Any) -> "RlvrRun":
        """Return a run with all outputs and its state in one folder.

        Args:
            settings: the other attributes.
        """
        return cls(
            models=folder / "models",
            rollouts_table=folder / "rollouts.parquet",
            metrics_table=folder / "trainer.parquet",
            events=folder / "tensorboard",
            node_logs=folder / "nodes",
            state=folder / "state",
            **settings,
        )

    @property
    def trained_models(self) -> tuple[str, ...]:
        """Return the models that have an optimiser, and therefore checkpoints."""
        return ("actor", "critic") if self.arm.has_critic else ("actor",)

    @property
    def checkpoint_parts(self) -> tuple[str, ...]:
        """Return the parts of a checkpoint, as `resume.checkpoints` names them."""
        return (*(f"_{model}" for model in self.trained_models), MODEL)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A run's state folder, its paths, number of prompts per update, and of its attempt: updates done, seed, folder."""

    folder: Path
    paths: Paths
    sizes: list[int]
    done: int
    seed: int
    attempt: Path

    @property
    def printed_metrics(self) -> Path:
        return self.folder / METRICS_FILE


def train_rlvr(run: RlvrRun, notify: Notify) -> None:
    """Train the base model on verifiable rewards, or resume the run from its last checkpoint.

    Args:
        run: settings, inputs and outputs.
        notify: prints a progress line.

    Raises:
        UserError: bad input, too little disk or GPU memory, or a run that failed, diverged or was interrupted.
    """
    rows = _check(run, notify)
    folder = _state(run, _kinds(rows), notify)
    with hold(folder / LOCK, run.display_name, PATIENCE):
        if is_finished(folder):
            notify(f"{run.display_name}: all updates are trained; writing the results again")
            prepared = _finished(run, rows, folder)
        else:
            prepared = _prepare(run, rows, folder, notify)
            with requeued_when_out_of_time(notify):
                _run(run, prepared, notify)
        metrics, rollouts = _collect(run, prepared)
        mark_finished(folder, run.models)
        _publish(run, prepared, metrics, rollouts)


def _check(run: RlvrRun, notify: Notify) -> list[Row]:
    """Return the training rows, after all checks that need no trainer."""
    arm, machine = run.arm, run.machine
    check_wandb(machine)
    check_folder(run.base)
    if machine.device == "gpu":
        notify(f"{run.display_name}: {check_training(run.display_name, run.base, arm, machine)}")
        notify(f"{run.display_name}: {check_attention(machine)}")
        check_job(run.display_name, machine.gpus_per_node, machine.gpu_gib, compiles=True, notify=notify)
    rows = read_training_rows(run.prompts, ("input", "label"))[: arm.rows]
    for kind in _kinds(rows):
        load_reward(arm.reward, kind=kind, drawn=True)
    check_lengths(run.base, [row["input"] for row in rows], arm.prompt_max_tokens, "prompt_max_tokens", run.prompts)
    decoded = as_decoded(run.base, [row["input"] for row in rows], run.prompts)
    rows = [row | {"input": text} for row, text in zip(rows, decoded, strict=True)]
    prompts_per_step = arm.train_batch_size // math.gcd(arm.train_batch_size, arm.samples_per_prompt)
    return fill_steps(rows, prompts_per_step)


def _kinds(rows: Iterable[Row]) -> list[Kind]:
    return sorted({kind_of(json.loads(row["label"])) for row in rows})


def _state(run: RlvrRun, kinds: Iterable[Kind], notify: Notify) -> Path:
    """Return the run's state folder."""
    arm = run.arm
    grader, terms, _ = reward_version(arm.reward, kinds)
    folder, changed = state_folder(
        run.state,
        "rlvr",
        run.display_name,
        rlvr_arguments(arm, checkpoint_layout(run.machine), run.seed, NOWHERE),
        run_facts(arm, run.machine, seed=run.seed)
        | {"version of the grader": grader, "version of the reward's code": terms},
        {"content of the base model": run.base, "content of the prompts": run.prompts},
    )
    if changed:
        notify(changed)
    return folder


def _prepare(run: RlvrRun, rows: list[Row], folder: Path, notify: Notify) -> _Prepared:
    """Write the trainer's input into the run's state folder, and find the checkpoint to resume from."""
    arm = run.arm
    paths = Paths.inside(folder, run.base, run.name)
    sizes = update_sizes(len(rows), arm.prompts_per_update, arm.episodes)
    disk = check_disk(disk_needed(weights_in(run.base), arm, run.machine, sizes), folder)
    notify(f"{run.display_name}: {disk}")
    write_json_lines(paths.data, rows)
    failed, lost = health.first_failure(read_lines(folder / METRICS_FILE)), _first_lost(run, folder, paths, sizes)
    if lost is not None:
        notify(f"{run.display_name}: responses, metrics or model of update {lost} were lost, so it is trained again")
    before = min((update for update in (failed, lost) if update is not None), default=None)
    restored = restore(paths.checkpoints, run.checkpoint_parts, before)
    for sentence in restored.damaged:
        notify(f"{run.display_name}: {sentence}")
    delete_unplanned_models(paths.checkpoints, run.checkpoint_parts, arm.save_every)
    set_events_aside(paths.metrics)
    # A killed attempt may leave a half-written cache of the prompts.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    diverged = sum(health.divergence(row) is not None for row in every_line(folder / METRICS_FILE))
    seed = attempt_seed(run.seed, restored.update, diverged)
    attempt = start_attempt(folder / "rollouts", restored.update + 1)
    return _Prepared(folder, paths, sizes, restored.update, seed, attempt)


def _finished(run: RlvrRun, rows: list[Row], folder: Path) -> _Prepared:
    """Return the plan of a run that has finished; nothing in its state folder is changed."""
    sizes = update_sizes(len(rows), run.arm.prompts_per_update, run.arm.episodes)
    return _Prepared(folder, Paths.inside(folder, run.base, run.name), sizes, len(sizes), run.seed, folder)


def _first_lost(run: RlvrRun, folder: Path, paths: Paths, sizes: list[int]) -> int | None:
    """Return the first update up to the newest checkpoint that lacks a part of the results; None if nothing is lost.

    A run that resumed after such an update could not be published when it has finished.
    """
    newest = max(complete_updates(paths.checkpoints, run.checkpoint_parts), default=0)
    if not newest:
        return None
    updates = set(range(1, newest + 1))
    saved = set(range(run.arm.save_every, newest + 1, run.arm.save_every))
    lost = updates - complete_rollouts(folder / "rollouts", sizes[:newest], run.arm.samples_per_prompt)
    metrics = read_metrics(folder / METRICS_FILE, paths.metrics)
    lost |= updates - {int(update) for update in metrics.get("update", ())}
    lost |= saved - set(complete_updates(paths.checkpoints, [MODEL]))
    return min(lost, default=None)


def _run(run: RlvrRun, prepared: _Prepared, notify: Notify) -> None:
    """Run OpenRLHF to its end."""
    machine, folder = run.machine, prepared.folder
    command = [
        *rlvr_launcher(machine, run.node_logs),
        *rlvr_arguments(run.arm, machine, prepared.seed, prepared.paths),
    ]
    loaded = [*run.trained_models, *(["reference"] if run.arm.has_reference else [])]
    resumed = f", resuming at update {prepared.done + 1}" if prepared.done else ""
    checkpoints = prepared.paths.checkpoints
    watch = RlvrWatch(
        run.display_name, len(prepared.sizes), prepared.printed_metrics, prepared.done, checkpoints, notify
    )
    watchers: list[Callable[[], None]] = [
        MemoryWatch(run.display_name, notify),
        WalltimeGuard(
            run.display_name,
            notify,
            prepared.attempt,
            prepared.done,
            last_saved=lambda: max(complete_updates(checkpoints, run.checkpoint_parts), default=0),
            longest_update=lambda: watch.longest_update,
        ),
    ]
    with tempfile.TemporaryDirectory(
        prefix="ray-", dir=short_folder(len("/ray-12345678/ray")), ignore_cleanup_errors=True
    ) as ray_folder:
        variables = process_environment(machine.device, machine.threads, folder / "cache") | {
            # With several nodes, each has its own folder, which the cluster launcher names.
            **({"RAY_TMPDIR": ray_folder} if machine.nodes == 1 else {}),
            SEED_VARIABLE: str(run.seed),
            "MEDRLVR_ROLLOUTS": str(prepared.attempt),
            "MEDRLVR_REWARD": reward_to_json(run.arm.reward),
            "MEDRLVR_END_OF_TEXT": end_of_text(run.base),
            **({"MEDRLVR_EVIDENCE": run.evidence} if run.evidence else {}),
            "MEDRLVR_RAY_FOLDER": ray_folder,
            **ray_variables(machine),
            **wandb_variables(machine, folder),
        }
        if run.phases is not None:
            variables |= phase_watch.variables(run.phases, variables)
        write_command(folder / "command.sh", command, variables)
        repair_caches(variables)
        compile_optimiser(machine, variables, notify)
        notify(
            f"{run.display_name}: {len(prepared.sizes)} updates{resumed}; starting Ray, vLLM and {' + '.join(loaded)}"
        )
        with watch:
            grace = CLUSTER_GRACE if machine.nodes > 1 else 0.0
            failure = prepared.attempt / FAILURE_FILE
            run_process(command, variables, watch, failure, alone=grace, watchers=watchers)


def _collect(run: RlvrRun, prepared: _Prepared) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the trainer's metrics, checked, and all rollouts."""
    folder, sizes = prepared.folder, prepared.sizes
    metrics = read_metrics(prepared.printed_metrics, prepared.paths.metrics)
    if not run.arm.has_reference:
        metrics = metrics.drop(columns=[*REFERENCE_METRICS], errors="ignore")
    health.check_finite(metrics, folder)
    health.check_all(metrics, len(sizes), folder)
    rows = [{str(name): float(value) for name, value in row.items()} for row in metrics.to_dict("records")]
    first = health.first_update(rows)
    # These were checked when they were printed, except those whose line was lost.
    for row in rows:
        health.check_engine(row, first, folder)
    return metrics, collect_rollouts(folder / "rollouts", sizes, run.arm.samples_per_prompt)


def _publish(run: RlvrRun, prepared: _Prepared, metrics: pd.DataFrame, rollouts: pd.DataFrame) -> None:
    """Write all outputs, then delete the trainer's states."""
    write_parquet(run.rollouts_table, rollouts)
    write_parquet(run.metrics_table, metrics)
    publish_events(metrics, event_times(prepared.paths.metrics), run.events)
    last, saved = len(prepared.sizes), exported(prepared.paths.checkpoints)
    models = {update: saved[update] for update in range(run.arm.save_every, last, run.arm.save_every)}
    for update, model in (models | {last: prepared.paths.model}).items():
        save_recipe(prepared.folder, prepared.paths, model, run.arm, seed=run.seed)
        publish_model(model, run.models / f"update{update}")
    delete_trainer_states(prepared.paths.checkpoints, run.checkpoint_parts)
