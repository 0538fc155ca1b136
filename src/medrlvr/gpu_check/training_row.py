"""The miniature's first updates, killed once and resumed, compared with the same updates on a CPU."""

import hashlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from scipy import stats

from medrlvr.config.arms import RlvrArm, training_settings
from medrlvr.config.evaluation import Mode
from medrlvr.config.experiment import Experiment
from medrlvr.evaluation.generate import generate_answers
from medrlvr.evaluation.requests import build_requests
from medrlvr.gpu_check.rows import Figure, Measured
from medrlvr.models.folder import weights_digest
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_parquet
from medrlvr.runtime.progress import run_display_name
from medrlvr.runtime.step_log import Notify
from medrlvr.training.health import ENGINE_KL_LIMIT
from medrlvr.training.rlvr import METRICS_FILE, RlvrRun, train_rlvr
from medrlvr.training.trainer_metrics import read_lines

KILLED_AFTER = 5
"""Number of finished updates after which the training is killed. The checkpoint to resume from is older."""

CONFIDENCE = 0.99
"""A run of the same kind lies inside the prediction interval of the CPU's runs with this probability."""

SAME_ANSWERS = 0.99
"""Share of answers that must be the same from weights loaded in place and from a new engine. It is not 1, because the
order of floating-point additions may differ between two starts of an engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingInputs:
    """What the row needs.

    Attributes:
        run: the training run; its outputs are in a folder of the check.
        prompts: development prompts, as `render_requests` returns them.
        mode: name and settings of the mode of the answers that are compared.
        prompt_max_tokens: maximum tokens of a prompt.
        curve: table of the CPU's runs, as `read_curve` reads it.
    """

    run: RlvrRun
    prompts: Path
    mode: Mapping[str, Mode]
    prompt_max_tokens: int
    curve: Path


def training_run(experiment: Experiment, base: Path, prompts: Path, folder: Path, seed: int) -> RlvrRun:
    """Return the training run of the check: the arm `rlvr` of config/gpu_check.yaml.

    Args:
        base: folder of the base model.
        prompts: JSON lines, as for `RlvrRun`.
        folder: folder for the outputs and the state.
    """
    arm = experiment.arms["rlvr"]
    assert isinstance(arm, RlvrArm)
    return RlvrRun.inside(
        folder,
        arm=arm,
        machine=experiment.machine,
        seed=seed,
        name=f"{experiment.experiment}-seed{seed}",
        display_name=run_display_name("rlvr", seed),
        base=base,
        prompts=prompts,
    )


def read_curve(path: Path) -> tuple[dict[str, str], pd.DataFrame]:
    """Return the facts in the comments at the start of the table, and its rows: seed, update, reward (mean).

    Args:
        path: tab-separated values after lines `# name: value`.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    facts = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
    return facts, pd.read_csv(path, sep="\t", comment="#")


def curve_key(run: RlvrRun) -> str:
    """Return a hash of what the curve depends on: the prompts, the base model's weights and the training settings."""
    with run.prompts.open("rb") as stream:
        prompts = hashlib.file_digest(stream, "sha256").hexdigest()
    facts = [prompts, weights_digest(run.base), training_settings(run.arm)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def compare_curves(reference: pd.DataFrame, rewards: Sequence[float]) -> list[Figure]:
    """Compare a run's mean rewards with those of several runs on a CPU.

    The level is the mean over all updates; the gain is the mean of the last third minus that of the first. Each must
    lie inside the prediction interval for one more run, from Student's t distribution.

    Args:
        reference: seed, update and reward of the CPU's runs, with two seeds or more.
        rewards: the run's mean reward of each update.
    """
    table = reference.pivot(index="seed", columns="update", values="reward").to_numpy()
    return [
        _inside("mean reward of all updates", [float(np.mean(row)) for row in table], float(np.mean(rewards))),
        _inside("gain in reward, last third minus first", [_gain(row) for row in table], _gain(np.array(rewards))),
    ]


def _gain(rewards: np.ndarray) -> float:
    third = len(rewards) // 3
    return float(np.mean(rewards[-third:]) - np.mean(rewards[:third]))


def _inside(what: str, reference: Sequence[float], value: float) -> Figure:
    runs, mean, spread = len(reference), float(np.mean(reference)), float(np.std(reference, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, runs - 1)) * spread * (1 + 1 / runs) ** 0.5
    expected = f"{mean - half:+.3f} to {mean + half:+.3f} (from {runs} runs on a CPU)"
    return Figure(what, f"{value:+.3f}", expected, abs(value - mean) <= half)


def measure_training(inputs: TrainingInputs, folder: Path, notify: Notify) -> Measured:
    """Train, kill, resume; then compare the curve, and the answers of reloaded weights.

    Args:
        folder: folder of this row and of the run's outputs; everything in it is deleted first.

    Raises:
        UserError: the training or the generation failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    run = inputs.run
    done = _train_and_kill(run, folder, notify)
    train_rlvr(run, notify)
    metrics, rollouts = read_parquet(run.metrics_table), read_parquet(run.rollouts_table)
    total = int(metrics["update"].max())
    figures = [
        Figure("updates finished when it was killed", str(done), f"at least {KILLED_AFTER}", done >= KILLED_AFTER),
        _every_update_once(metrics, rollouts, total),
        _engine_kl(metrics),
    ]
    facts, curve = read_curve(inputs.curve)
    if facts["key"] == curve_key(run):
        figures += compare_curves(curve, metrics["reward"].tolist())
    else:
        figures.append(Figure("curve", "not compared", f"{inputs.curve} is of another miniature (`make gpu-curve`)"))
    return Measured([*figures, _same_answers(inputs, run, folder, notify), *_times(metrics)])


def _train_and_kill(run: RlvrRun, folder: Path, notify: Notify) -> int:
    """Train in a process of its own, kill it after some updates, and return how many were finished."""
    process = multiprocessing.get_context("spawn").Process(target=train_rlvr, args=(run, print))
    process.start()
    assert process.pid is not None
    try:
        while (done := _finished(run.state)) < KILLED_AFTER:
            if process.exitcode is not None:
                raise UserError(
                    f"training ended after update {done}, before it could be killed; the log contains the reason."
                )
            time.sleep(0.1)
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        notify(f"gpu_check: killed after update {done}; it resumes now")
    finally:
        process.kill()
        process.join()
    _, alive = psutil.wait_procs(everything, timeout=60)
    if alive:
        names = ", ".join(f"{one.pid} ({_name(one)})" for one in alive)
        raise UserError(f"60 s after the kill, these processes of the training still ran: {names}.")
    return done


def _name(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return str(process.name())
    return "ended"


def _finished(state: Path) -> int:
    """Return the number of the last finished update in any run's state."""
    rows = [row for file in state.rglob(METRICS_FILE) for row in read_lines(file)]
    return max((int(row["update"]) for row in rows), default=0)


def _every_update_once(metrics: pd.DataFrame, rollouts: pd.DataFrame, total: int) -> Figure:
    planned = list(range(1, total + 1))
    sampled = rollouts.groupby("update").size()
    good = metrics["update"].tolist() == planned and sampled.index.tolist() == planned and sampled.nunique() == 1
    return Figure(
        "updates in the metrics and in the rollouts",
        f"{len(metrics)} and {len(sampled)}",
        f"each of {total} once, with the same number of responses",
        bool(good),
    )


def _engine_kl(metrics: pd.DataFrame) -> Figure:
    largest = float(metrics["vllm_kl"].abs().max())
    # The training itself compares each update with a limit of its own (`health.check_engine`).
    return Figure(
        "largest engine_kl of an update", f"{largest:.1e}", f"below {ENGINE_KL_LIMIT:g}", largest < ENGINE_KL_LIMIT
    )


def _same_answers(inputs: TrainingInputs, run: RlvrRun, folder: Path, notify: Notify) -> Figure:
    """Compare the last model's answers from an engine that loaded it in place with those of a new engine."""
    models = sorted(run.models.iterdir(), key=lambda path: int(path.name.removeprefix("update")))
    (name,) = inputs.mode
    asked = build_requests(read_parquet(inputs.prompts), {"development": [name]}, inputs.mode, seed=1)
    texts = []
    for where, evaluated in (("in place", [models[0], models[-1]]), ("new engine", [models[-1]])):
        answers = folder / where.replace(" ", "_")
        generate_answers(
            evaluated,
            asked,
            answers,
            run.machine,
            prompt_max_tokens=inputs.prompt_max_tokens,
            state=answers / "state",
            display_name=f"answers, {where}",
            notify=notify,
        )
        table = read_parquet(answers / "answers.parquet")
        last = table[table["model"] == str(models[-1])].sort_values("question_id")
        texts.append(last["response"].tolist())
    same = float(np.mean([one == other for one, other in zip(*texts, strict=True)]))
    return Figure(
        "answers that are the same from reloaded weights and from a new engine",
        f"{same:.1%} of {len(texts[0])}",
        f"at least {SAME_ANSWERS:.0%}",
        same >= SAME_ANSWERS,
    )


def _times(metrics: pd.DataFrame) -> list[Figure]:
    """Return the median seconds of an update, and of its parts, without the first update."""
    parts = [name for name in metrics.columns if name.startswith("timing/")]
    later = metrics[metrics["update"] > 1]
    return [
        Figure(f"seconds of an update: {name.removeprefix('timing/')}", f"{later[name].median():.2f}") for name in parts
    ]
