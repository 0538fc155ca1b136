"""The rows of the check, in order of their worth, and its report."""

import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config.arms import RlvrArm
from medrlvr.config.machine import Machine
from medrlvr.gpu_check.answers_row import measure_answers
from medrlvr.gpu_check.card import Card, host, not_locked, read_card, versions
from medrlvr.gpu_check.ppo_row import PpoPlan, measure_ppo, measure_precision, plan_ppo
from medrlvr.gpu_check.programs import run_program
from medrlvr.gpu_check.rows import PASSED, Figure, Measured, NotApplicableError, Numbers, Result, Row, run_rows
from medrlvr.gpu_check.training_row import TrainingInputs, measure_training
from medrlvr.models.shape import Shape, known_shape
from medrlvr.runtime.environment import CPU_FORMAT, process_environment
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_json, write_text
from medrlvr.runtime.gpu_preflight import check_job
from medrlvr.runtime.memory_watch import memory_limit
from medrlvr.runtime.provenance import code_version
from medrlvr.runtime.step_log import Notify
from medrlvr.training.compiled import compile_optimiser

_TINY = Shape(
    hidden=128, layers=2, heads=4, kv_heads=2, head_dim=32, intermediate=128, vocabulary=1000, tied=True, qkv_bias=True
)

QUESTIONS = {"gpu": 512, "cpu": 16}
"""Device -> number of questions whose answers are timed."""

RESPONSES, LENGTH = {"gpu": 64, "cpu": 8}, {"gpu": 1024, "cpu": 64}
"""Device -> responses in an update, which is one optimiser step; and tokens of each prompt and of each response."""

ROUNDING = 4 * 2**-21
"""Largest difference of the optimisers after three steps: four times the distance between float32 numbers from 4 to 8,
in which the largest parameters lie. Each step rounds once in each optimiser."""

SETTINGS: dict[str, dict[str, Any]] = {
    "ZeRO 3 and micro-batches of 1, OpenRLHF's defaults": {
        "zero_stage": 3,
        "rollout_micro_batch": 1,
        "train_micro_batch": 1,
    },
    "flash-attn and packing": {"flash_attention": True},
}
"""Name -> settings that are compared with the preset's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInputs:
    """What the check needs.

    Attributes:
        machine: settings of the miniature's machine; on a CPU the check is a rehearsal with tiny models.
        training: inputs of the row that trains the miniature.
        arm: the paper's RLVR arm.
        presets: name -> settings of a machine, from config/presets.
        minutes: time limit; None for none.
        folder: folder of the check's own files.
        report, table, rates: output files.
    """

    machine: Machine
    training: TrainingInputs
    arm: RlvrArm
    presets: Mapping[str, Machine]
    minutes: float | None
    folder: Path
    report: Path
    table: Path
    rates: Path


MINUTES = "GPU_CHECK_MINUTES"
"""Environment variable with the time limit of the check."""


def read_minutes(text: str | None) -> float | None:
    """Return the time limit in minutes; None if the text is empty or None.

    Raises:
        UserError: it is not a positive number.
    """
    if not text:
        return None
    with suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise UserError(f"MINUTES is {text!r}; it must be a positive number, such as `make gpu-check MINUTES=8`.")


def check_gpu(inputs: CheckInputs, notify: Notify) -> None:
    """Run all rows and write the report, its table and the overlay for the planner.

    A row that fails does not stop the others, and does not raise an error: the report states it.

    Raises:
        Interrupted: the process received a signal. The rows that had ended are kept.
    """
    inputs.folder.mkdir(parents=True, exist_ok=True)
    os.environ[CPU_FORMAT] = "bfloat16"  # a rehearsal on a CPU computes in the number format of a GPU
    check = _Check(inputs, notify)
    card = check.card
    software, machine = versions(inputs.machine.device), asdict(card) if card else {"name": "none"}
    key = repr((code_version(), sorted(software.items()), sorted(machine.items())))
    results = run_rows(check.rows(), inputs.folder / "rows", key, inputs.minutes, notify)
    report = {
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "code": code_version(),
        "device": inputs.machine.device,
        "gpu": machine,
        "host": host(),
        "software": software,
        "not_locked": not_locked(software, Path("envs", f"{inputs.machine.device}.lock")),
        "rows": [asdict(result) for result in results],
    }
    write_json(inputs.report, report)
    write_text(inputs.table, render_table(report))
    passed = sum(result.outcome == PASSED for result in results)
    notify(f"gpu_check: {passed} of {len(results)} rows passed: {inputs.table}")


class _Check:
    def __init__(self, inputs: CheckInputs, notify: Notify) -> None:
        self._inputs, self._notify = inputs, notify
        self.card = read_card(inputs.machine)

    def rows(self) -> list[Row]:
        """Return the rows, the most important first."""
        return [
            Row("facts", "speed of the GPU", 30, self._facts),
            Row("optimiser", "the optimiser compiles and steps", 60, self._optimiser),
            Row("training", "the miniature: trained, killed, resumed, compared with a CPU", 150, self._training),
            Row("ppo", "PPO at the size of the paper's model", 180, self._ppo),
            Row("answers", "speed of answers", 90, self._answers),
            Row("precision", "bfloat16 against float32", 30, self._precision),
            Row("planner", "rates for the planner", 0, self._planner),
            Row("settings", "which settings are fastest", 300, self._settings),
        ]

    @property
    def _variables(self) -> dict[str, str]:
        machine = self._inputs.machine
        return process_environment(machine.device, machine.threads, self._inputs.folder / "cache")

    def _shapes(self) -> dict[str, Shape]:
        if self._inputs.machine.device == "cpu":
            return {"tiny": _TINY}
        names = ("Qwen/Qwen2.5-3B", "Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-0.5B")
        return {name.partition("/")[2]: shape for name in names if (shape := known_shape(name)) is not None}

    def _require_gpu(self) -> Card:
        if self.card is None:
            raise NotApplicableError("there is no GPU: this is a rehearsal on a CPU.")
        return self.card

    def _facts(self, numbers: Numbers) -> Measured:
        self._require_gpu()
        check_job("gpu_check", 1, self._inputs.machine.gpu_gib, compiles=True, notify=self._notify)
        found = run_program("rates", self._inputs.folder, self._variables)
        figures = [
            Figure("bfloat16 matrix product", f"{found['tflops']:.0f} TFLOP/s"),
            Figure("copy on the GPU", f"{found['bytes_per_second'] / 1e12:.2f} TB/s, read and written"),
            Figure("CUDA of torch", str(found["cuda"])),
            Figure("multiprocessors", str(found["multiprocessors"])),
        ]
        return Measured(figures, {"tflops": found["tflops"]})

    def _optimiser(self, numbers: Numbers) -> Measured:
        self._require_gpu()
        began = time.monotonic()
        compile_optimiser(self._inputs.machine, self._variables, self._notify)
        seconds = time.monotonic() - began
        found = run_program("optimiser", self._inputs.folder, self._variables)
        same = found["finite"] and found["difference"] <= ROUNDING
        return Measured(
            [
                Figure("seconds to compile, or to find it compiled", f"{seconds:.0f}"),
                Figure(
                    "largest difference from torch's AdamW",
                    f"{found['difference']:.1e}",
                    f"at most {ROUNDING:.1e}",
                    same,
                ),
            ]
        )

    def _training(self, numbers: Numbers) -> Measured:
        return measure_training(self._inputs.training, self._inputs.folder / "training", self._notify)

    def _answers(self, numbers: Numbers) -> Measured:
        device, shapes = self._inputs.machine.device, self._shapes()
        chosen = {name: shape for name, shape in shapes.items() if name != "Qwen2.5-1.5B"}
        return measure_answers(chosen, QUESTIONS[device], self._inputs.machine, self._models)

    @property
    def _models(self) -> Path:
        folder = self._inputs.folder / "models"
        folder.mkdir(exist_ok=True)
        return folder

    def _arm(self) -> RlvrArm:
        device = self._inputs.machine.device
        prompts = RESPONSES[device] // self._inputs.arm.samples_per_prompt
        size = {"prompt_max_tokens": LENGTH[device], "response_max_tokens": LENGTH[device]}
        few = {"episodes": 1, "prompts_per_update": prompts, "train_batch_size": RESPONSES[device], "rows": None}
        return self._inputs.arm.model_copy(update={**size, **few, "save_every": 1000})

    def _plan(self) -> PpoPlan:
        shapes, arm = self._shapes(), self._arm()
        if self.card is None:
            return PpoPlan("tiny", shapes["tiny"], self._inputs.machine, "the miniature's settings", arm)
        return plan_ppo(self.card, self._inputs.presets, shapes, arm, memory_limit())

    def _ppo(self, numbers: Numbers) -> Measured:
        peak = numbers["facts"].get("tflops")
        return measure_ppo(self._plan(), peak, self._models, self._notify)

    def _precision(self, numbers: Numbers) -> Measured:
        return Measured(measure_precision(self._plan(), self._models))

    def _planner(self, numbers: Numbers) -> Measured:
        """Write the rates of this machine as an overlay."""
        shape = self._plan().shape_name
        if not numbers["ppo"] or shape not in numbers["answers"]:
            raise NotApplicableError("it needs the rows on answers and on PPO, which did not finish.")
        rates = {
            "training_tflops": float(f"{numbers['ppo']['training_tflops']:.3g}"),
            "generation_tflops": float(f"{numbers['answers'][shape]:.3g}"),
        }
        name = self.card.name if self.card else "a CPU"
        head = f"# Rates measured by `make gpu-check` on {name}, with {shape}, for `medrlvr plan`.\n"
        write_text(self._inputs.rates, head + yaml.safe_dump({"machine": rates}, sort_keys=False))
        return Measured([Figure(key, f"{value:g} TFLOP/s") for key, value in rates.items()])

    def _settings(self, numbers: Numbers) -> Measured:
        """Compare the time of an update with OpenRLHF's default micro-batches, and with packing if it is possible."""
        self._require_gpu()
        if not numbers["ppo"]:
            raise NotApplicableError("it compares with the row on PPO, which did not finish.")
        plan, ours = self._plan(), numbers["ppo"]["training_seconds"]
        figures = [Figure("an update without generation, our preset", f"{ours:.1f} s")]
        for name, change in SETTINGS.items():
            if change.get("flash_attention") and "flash-attn" not in versions("gpu"):
                figures.append(Figure(name, "not measured: the package flash-attn is not installed"))
                continue
            machine = plan.machine.model_copy(update=change)
            other = measure_ppo(replace(plan, machine=machine, source="other"), None, self._models, self._notify)
            seconds = other.numbers["training_seconds"]
            figures.append(Figure(name, f"{seconds:.1f} s, {seconds / ours:.2f} of ours"))
        return Measured(figures)


def render_table(report: Mapping[str, Any]) -> str:
    """Return the report as Markdown."""
    gpu = report["gpu"]
    about = "no GPU: a rehearsal on a CPU"
    if "gib" in gpu:
        about = f"{gpu['name']}, {gpu['gib']:.1f} GiB, driver {gpu['driver']}"
    software = ", ".join(f"{name} {version}" for name, version in report["software"].items())
    lines = [
        f"{report['made']}; {about}; host: {report['host']}; code {report['code']}.",
        "",
        f"Software: {software}. {_certified(report['not_locked'])}",
        "",
        "| row | outcome | time | figure | measured | expected |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        result = Result(**{**row, "figures": [Figure(**figure) for figure in row["figures"]]})
        head = f"| {result.title} | {result.outcome} | {result.seconds:.0f} s |"
        if not result.figures:
            lines.append(f"{head} {_cell(result.note)} | | |")
        for figure in result.figures:
            mark = " (not as expected)" if figure.passed is False else ""
            lines.append(f"{head} {_cell(figure.what)} | {_cell(figure.value)}{mark} | {_cell(figure.expected)} |")
            head = "| | | |"
    return "\n".join(lines) + "\n"


def _certified(different: Sequence[str]) -> str:
    if different:
        return f"**The result holds for these versions, not for those of the lock file: {', '.join(different)}.**"
    return "These are the versions of the lock file."


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
