"""Compile DeepSpeed's optimiser before the trainer starts, once for all runs on GPUs of one kind.

Without this, the first process of the trainer would compile it. torch protects the compilation with a lock file that
outlives a killed process, and every later process waits for it without end.

    python -m medrlvr.training.compiled BUILDER
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from medrlvr.config.machine import Machine
from medrlvr.runtime.hold import hold
from medrlvr.runtime.processes import run_process
from medrlvr.runtime.step_log import Notify
from medrlvr.training.memory.phases import offloads

BUILDERS = {"fused_adam": "FusedAdamBuilder", "cpu_adam": "CPUAdamBuilder"}
"""Optimiser for GPUs and for the host -> DeepSpeed's class that compiles it."""

LOADING = 60.0
"""Seconds after which a lock next to a finished library is dead; loading the library needs a few. ASSUMED."""

PATIENCE = 1800.0
"""Seconds to wait for another run that compiles."""


def compile_optimiser(machine: Machine, variables: Mapping[str, str], notify: Notify) -> None:
    """Compile the optimiser that the trainer needs on this machine, unless it is compiled already.

    Args:
        machine: the settings; on a CPU nothing is compiled.
        variables: environment variables, as `process_environment` returns them.
        notify: prints a progress line.

    Raises:
        UserError: the compilation failed, or another run compiles for longer than `PATIENCE`.
    """
    if machine.device == "cpu":
        return
    name = "cpu_adam" if offloads(machine) else "fused_adam"
    folder = Path(variables["TORCH_EXTENSIONS_DIR"])
    with hold(folder / "holder.json", "compiling DeepSpeed's optimiser", PATIENCE):
        compiled = (folder / name / f"{name}.so").is_file()
        _remove_dead_lock(folder / name / "lock", LOADING if compiled else 0.0)
        if not compiled:
            notify("compiling DeepSpeed's optimiser, once for this kind of GPU: a minute or two")
            run_process(compile_command(BUILDERS[name]), variables, print, work="the compilation of the optimiser")


def _remove_dead_lock(lock: Path, patience: float) -> None:
    """Delete torch's lock file if it still exists after `patience` seconds.

    Without a finished library, no other run compiles, so the owner is dead. With one, a trainer may be loading it:
    torch holds the lock meanwhile, and fails if another process has deleted it.
    """
    deadline = time.monotonic() + patience
    while lock.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    lock.unlink(missing_ok=True)


def compile_command(builder: str) -> list[str]:
    """Return the command that compiles and loads an optimiser of DeepSpeed."""
    return [sys.executable, "-m", "medrlvr.training.compiled", builder]


def main(arguments: list[str]) -> None:
    """Compile and load the optimiser of the named builder."""
    parser = argparse.ArgumentParser(description="Compile one of DeepSpeed's optimisers.")
    parser.add_argument("builder", choices=BUILDERS.values())
    builder = parser.parse_args(arguments).builder

    from deepspeed.ops import op_builder

    getattr(op_builder, builder)().load()


if __name__ == "__main__":
    main(sys.argv[1:])
