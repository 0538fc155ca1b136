"""Print the tables of docs/memory.md: `python -m medrlvr.training.memory.tables`."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from medrlvr.config.arms import RlvrArm
from medrlvr.config.data import BaseModelSource
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import GIB
from medrlvr.models.shape import Shape
from medrlvr.training.memory.fit import shape_of
from medrlvr.training.memory.host import host_bytes
from medrlvr.training.memory.phases import Phase, kv_cache_sequences, peak, phases

PRESETS = Path("config/presets")


def render_tables() -> str:
    """Return the tables of docs/memory.md: the paper's arms on config.yaml's machine and on each preset's."""
    experiment = Experiment()
    machines = {"config.yaml": read_machine({})}
    for file in sorted(PRESETS.glob("*.yaml")):
        machines[file.stem] = read_machine(yaml.safe_load(file.read_text(encoding="utf-8")))
    lines = [
        "| machine | base | GPUs | GiB each | SFT, peak | RLVR, peak | peak phase | concurrent sequences"
        " | host, GiB/node |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    sft, rlvr = experiment.arms["sft"], experiment.arms["rlvr"]
    assert isinstance(rlvr, RlvrArm)
    for name, (base, shape, machine) in machines.items():
        fullest = peak(shape, rlvr, machine)
        lines.append(
            f"| {name} | {base} | {machine.nodes * machine.gpus_per_node} | {machine.gpu_gib:g} |"
            f" {_filled(peak(shape, sft, machine), machine)} | {_filled(fullest, machine)} | {fullest.name} |"
            f" {kv_cache_sequences(shape, rlvr, machine)} | {host_bytes(shape, rlvr, machine) / GIB:.0f} |"
        )
    for name, (base, shape, machine) in machines.items():
        rows = phases(shape, rlvr, machine)
        parts = list(dict.fromkeys(part for row in rows for part in row.parts))
        lines += ["", f"RLVR, {name}, {base}, GiB per GPU:", "", f"| phase | {' | '.join(parts)} | total |"]
        lines.append("|---" * (len(parts) + 2) + "|")
        for row in rows:
            cells = [f"{row.parts[part] / GIB:.1f}" if part in row.parts else "" for part in parts]
            lines.append(f"| {row.name} | {' | '.join(cells)} | {row.total / GIB:.1f} |")
    return "\n".join(lines) + "\n"


def read_machine(overlay: Mapping[str, Any]) -> tuple[str, Shape, Machine]:
    """Return the base model's name and shape, and the machine, of config.yaml with an overlay."""
    paper = Experiment()
    base = BaseModelSource.model_validate(paper.base.model_dump() | overlay.get("base", {}))
    shape = shape_of(base, Path("absent"))
    assert shape is not None
    machine = Machine.model_validate(paper.machine.model_dump() | overlay.get("machine", {}))
    return base.name.split("@")[0].split("/")[-1], shape, machine


def _filled(phase: Phase, machine: Machine) -> str:
    size = phase.total / GIB
    return f"{size:.1f} ({size / machine.gpu_gib:.0%})"


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m medrlvr.training.memory.tables", description="Print the tables of docs/memory.md."
    ).parse_args()
    print(render_tables(), end="")
