"""Reinforcement learning from verifiable rewards (paper, section 2), by OpenRLHF's `train_ppo_ray`."""

import inspect
import json
import math
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from medrlvr import environment, grading, launch, memory, rewards
from medrlvr.config import Machine, RlvrArm
from medrlvr.files import write_json_lines, write_parquet
from medrlvr.fingerprint import fingerprint
from medrlvr.hacking import HackMeter
from medrlvr.models import check_folder, check_lengths
from medrlvr.progress import Progress
from medrlvr.training import checks, preparation, rollouts
from medrlvr.training.disk import check_disk, disk_needed, weights_in
from medrlvr.training.metrics import REFERENCE_METRICS, parse_line, read_lines, read_metrics
from medrlvr.training.openrlhf import NOWHERE, Paths, rlvr_arguments

CLUSTER_GRACE = 20.0
"""Seconds for a cluster of Ray to end its nodes by itself, as told the nodes' own processes cannot clean up."""


def train_rlvr(
    arm: RlvrArm,
    machine: Machine,
    seed: int,
    *,
    name: str,
    stage: str,
    base: Path,
    prompts: Path,
    models: Path,
    rollouts_table: Path,
    metrics_table: Path,
    events: Path,
    node_logs: Path,
    state: Path,
    say: Callable[[str], None],
) -> None:
    """Train `base` on verifiable rewards; a stopped run is gone on with from its last checkpoint.

    Args:
        name: what the run is called where it is logged.
        stage: what it is called to the person who waits.
        base: folder of the base model, safetensors and tokenizer: actor, critic and reference start from it.
        prompts: JSON lines with `input` (the prompt as it is) and `label` (JSON: question_id, options, gold).
        models: folder to be made, of the models `update<n>` after every `save_every` updates and after the last.
        rollouts_table: parquet to be made, as `rollouts.gather` describes it.
        metrics_table: parquet to be made, as `metrics.read_metrics` describes it; without what nobody measured.
        events: folder to be made, of TensorBoard event files.
        node_logs: folder for the logs of Ray's nodes, where there are several.
        state: folder of all runs' states; this run's is named after what decides its result.
        say: prints a line for the person who waits.

    Raises:
        UserError: bad input, too little disk or GPU memory, a failed, diverged or interrupted run.
    """
    rewards.find(arm.reward)
    environment.check_wandb(machine)
    check_folder(base)
    if machine.device == "gpu":
        say(f"{stage}: {memory.check_training(stage, base, arm, machine)}")
        say(f"{stage}: {environment.check_attention(machine)}")
    rows = preparation.read_rows(prompts, ("input", "label"))[: arm.rows]
    check_lengths(base, [row["input"] for row in rows], arm.prompt_max_tokens, "prompt_max_tokens", prompts)
    prompts_per_step = arm.train_batch_size // math.gcd(arm.train_batch_size, arm.samples_per_prompt)
    rows = preparation.fill_steps(rows, prompts_per_step)
    sizes = rollouts.update_sizes(len(rows), arm.prompts_per_update, arm.episodes)
    deciding = rlvr_arguments(arm, preparation.checkpoint_layout(machine), seed, NOWHERE)
    folder = preparation.state_folder(state, "rlvr", [*deciding, *judge(arm)], [base, prompts])
    paths = Paths.inside(folder, base, name)
    progress, meter = Progress(stage, len(sizes)), HackMeter()
    say(f"{stage}: {check_disk(disk_needed(weights_in(base), arm, machine, sizes), folder)}")
    write_json_lines(paths.data, rows)
    trained = ("actor", *(["critic"] if arm.has_critic else []))
    loaded = (*trained, *(["reference"] if arm.has_reference else []))
    done = preparation.last_checkpoint(paths.checkpoints, [f"_{model}" for model in trained])
    attempt = rollouts.begin_attempt(folder / "rollouts", done + 1)
    command = [*environment.rlvr_launcher(machine, node_logs), *rlvr_arguments(arm, machine, seed, paths)]
    printed = folder / "metrics.jsonl"
    # What a start that was killed compiled halfway would be waited for.
    shutil.rmtree(folder / "cache", ignore_errors=True)
    place = environment.short_folder(len("/ray-12345678/ray"))
    with tempfile.TemporaryDirectory(prefix="ray-", dir=place, ignore_cleanup_errors=True) as ray_folder:
        variables = environment.variables(machine, folder / "cache") | {
            # On several nodes each has a folder of its own, which their launcher names.
            **({"RAY_TMPDIR": ray_folder} if machine.nodes == 1 else {}),
            "MEDRLVR_ROLLOUTS": str(attempt),
            "MEDRLVR_REWARD": rewards.to_text(arm.reward),
            "MEDRLVR_END_OF_TEXT": preparation.end_of_text(base),
            "MEDRLVR_RAY_FOLDER": ray_folder,
            **environment.wandb_variables(machine, folder),
        }
        launch.write_command(folder / "command.sh", command, variables)
        begun = f" from {done + 1}" if done else ""
        say(f"{stage}: {len(sizes)} updates{begun}; starting Ray, vLLM and {' + '.join(loaded)}")
        sounded: list[str] = []
        for row in read_lines(printed, done):
            new = meter.add(int(row["update"]), row["rollout/num_samples"], row["rollout/reward_mean"], row)
            sounded = new or sounded
        # Told before, but the log began anew, and `make status` reads it there.
        for alarm in sounded:
            print(f"{stage}: {alarm}", flush=True)
        with printed.open("a", encoding="utf-8") as file:

            def each_line(line: str) -> None:
                print(line, flush=True)
                if (row := parse_line(line)) is not None:
                    print(json.dumps(row), file=file, flush=True)
                    update, reward = int(row["update"]), row["rollout/reward_mean"]
                    say(progress.line(update, f"mean reward {reward:+.2f}"))
                    for alarm in meter.add(update, row["rollout/num_samples"], reward, row):
                        say(f"{stage}: {alarm}")

            grace = CLUSTER_GRACE if machine.nodes > 1 else 0.0
            launch.run(command, variables, each_line, attempt / rollouts.FAILURE_FILE, alone=grace)
    table = read_metrics(printed, paths.metrics)
    if not arm.has_reference:
        table = table.drop(columns=[*REFERENCE_METRICS], errors="ignore")
    checks.check_finite(table, folder)
    checks.check_all(table, len(sizes), folder)
    checks.check_engine(table, folder)
    responses = rollouts.gather(folder / "rollouts", sizes, arm.samples_per_prompt)
    write_parquet(rollouts_table, responses)
    write_parquet(metrics_table, table)
    preparation.hand_over_events(paths.metrics, events)
    written = preparation.exported(paths.checkpoints)
    made = {update: written[update] for update in range(arm.save_every, len(sizes), arm.save_every)}
    for update, model in (made | {len(sizes): paths.model}).items():
        preparation.keep_origin(folder, paths, model, arm, seed=seed)
        preparation.hand_over(model, models / f"update{update}")
    shutil.rmtree(folder)


def judge(arm: RlvrArm) -> list[str]:
    """Return what decides a response's reward: the grader's and the terms' code, and the setting with its numbers."""
    code = fingerprint(inspect.getsource(grading), rewards.source(arm.reward))
    return [code, json.dumps(arm.reward, sort_keys=True)]
