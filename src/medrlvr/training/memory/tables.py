"""Print the tables of docs/memory.md: `python -m medrlvr.training.memory.tables`."""

import argparse
from pathlib import Path

import yaml

from medrlvr.config.arms import RlvrArm
from medrlvr.config.experiment import Experiment
from medrlvr.config.machine import Machine
from medrlvr.models.engine_memory import GIB
from medrlvr.training.memory.fit import shape_of
from medrlvr.training.memory.host import host_bytes
from medrlvr.training.memory.phases import kv_cache_sequences, peak, phases

PRESETS = Path("config/presets")


def render_tables() -> str:
    """Return the tables of docs/memory.md: the paper's arms on config.yaml's machine and on each preset's."""
    experiment = Experiment()
    shape = shape_of(experiment.base, Path("absent"))
    assert shape is not None
    machines = {"config.yaml": experiment.machine}
    for file in sorted(PRESETS.glob("*.yaml")):
        overlay = yaml.safe_load(file.read_text(encoding="utf-8"))["machine"]
        machines[file.stem] = Machine.model_validate(experiment.machine.model_dump() | overlay)
    lines = [
        "| machine | GPUs | GiB each | SFT, peak | RLVR, peak | peak phase | concurrent sequences | host, GiB/node |",
        "|---|---|---|---|---|---|---|---|",
    ]
    sft, rlvr = experiment.arms["sft"], experiment.arms["rlvr"]
    assert isinstance(rlvr, RlvrArm)
    for name, machine in machines.items():
        fullest = peak(shape, rlvr, machine)
        lines.append(
            f"| {name} | {machine.nodes * machine.gpus_per_node} | {machine.gpu_gib:g} |"
            f" {peak(shape, sft, machine).total / GIB:.1f} | {fullest.total / GIB:.1f} | {fullest.name} |"
            f" {kv_cache_sequences(shape, rlvr, machine)} | {host_bytes(shape, rlvr, machine) / GIB:.0f} |"
        )
    for name, machine in machines.items():
        rows = phases(shape, rlvr, machine)
        parts = list(dict.fromkeys(part for row in rows for part in row.parts))
        lines += ["", f"RLVR, {name}, GiB per GPU:", "", f"| phase | {' | '.join(parts)} | total |"]
        lines.append("|---" * (len(parts) + 2) + "|")
        for row in rows:
            cells = [f"{row.parts[part] / GIB:.1f}" if part in row.parts else "" for part in parts]
            lines.append(f"| {row.name} | {' | '.join(cells)} | {row.total / GIB:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m medrlvr.training.memory.tables", description="Print the tables of docs/memory.md."
    ).parse_args()
    print(render_tables(), end="")
