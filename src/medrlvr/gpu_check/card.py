"""Facts of the GPU and of the software, and a record of the GPU's memory over time."""

import os
import platform
import re
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

from medrlvr.config.machine import Machine
from medrlvr.runtime.environment import ENGINE_PACKAGE
from medrlvr.runtime.memory_watch import memory_limit

GIB = 2**30

PACKAGES = ("torch", "transformers", "openrlhf", "deepspeed", "ray", "triton", "flash-attn")
"""Packages whose versions are in the report, in addition to vLLM's."""

_INTERVAL = 0.1
"""Seconds between two readings of the GPU's memory."""


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU.

    Attributes:
        name: its name.
        gib: its memory in GiB.
        driver: version of the driver.
        capability: compute capability, such as "9.0".
    """

    name: str
    gib: float
    driver: str
    capability: str


def versions(device: str) -> dict[str, str]:
    """Return the version of Python and of every package in the report that is installed."""
    found = {"python": platform.python_version()}
    for name in (ENGINE_PACKAGE[device], *PACKAGES):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def not_locked(found: Mapping[str, str], lock: Path) -> list[str]:
    """Return the packages whose version is not that of a lock file, such as "torch 2.11.0 instead of 2.13.0".

    Args:
        found: package -> installed version.
        lock: file with lines `name==version`; torch's version is in torch.txt in the same folder.
    """
    text = "\n".join(file.read_text(encoding="utf-8") for file in (lock, lock.with_name("torch.txt")))
    locked = dict(re.findall(r"^([\w.-]+)(?:\[\w,]+\])?==([^\s;]+)", text, re.MULTILINE))
    versions = {name: version.partition("+")[0] for name, version in found.items()}
    return [
        f"{name} {version} instead of {locked[name]}"
        for name, version in versions.items()
        if name in locked and version != locked[name]
    ]


def host() -> str:
    """Return the processor cores and the memory of this machine, as text."""
    return f"{os.cpu_count()} cores, {memory_limit() / GIB:.0f} GiB, {platform.machine()}"


def read_card(machine: Machine) -> Card | None:
    """Return the first GPU that this process may use; None on a CPU."""
    if machine.device == "cpu":
        return None
    with _Nvml() as nvml:
        handle = nvml.handle
        major, minor = nvml.api.nvmlDeviceGetCudaComputeCapability(handle)
        return Card(
            name=_text(nvml.api.nvmlDeviceGetName(handle)),
            gib=nvml.api.nvmlDeviceGetMemoryInfo(handle).total / GIB,
            driver=_text(nvml.api.nvmlSystemGetDriverVersion()),
            capability=f"{major}.{minor}",
        )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Nvml:
    """NVIDIA's management library, which reads a GPU without using its memory."""

    def __enter__(self) -> "_Nvml":
        import pynvml

        self.api = pynvml
        pynvml.nvmlInit()
        # Slurm and users restrict a job to some GPUs, by number or by UUID.
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip() or "0"
        if first.isdigit():
            self.handle = pynvml.nvmlDeviceGetHandleByIndex(min(int(first), pynvml.nvmlDeviceGetCount() - 1))
        else:
            self.handle = pynvml.nvmlDeviceGetHandleByUUID(first.encode())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.api.nvmlShutdown()


class MemoryRecord:
    """Reads the used memory of the GPU ten times a second while the context is entered; on a CPU, it reads nothing.

    Attributes:
        readings: time (seconds since 1970) and used memory (bytes, of all processes) of each reading.
    """

    def __init__(self, machine: Machine) -> None:
        self._on_gpu = machine.device == "gpu"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self.readings: list[tuple[float, int]] = []

    def __enter__(self) -> "MemoryRecord":
        if self._on_gpu:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._on_gpu:
            self._thread.join()

    def _read(self) -> None:
        with _Nvml() as nvml:
            while not self._ended.wait(_INTERVAL):
                used = nvml.api.nvmlDeviceGetMemoryInfo(nvml.handle).used
                self.readings.append((time.time(), int(used)))

    def peaks(self, phases: pd.DataFrame) -> dict[str, int]:
        """Return phase -> largest used memory, in bytes, during any of its occurrences; only phases with a reading.

        Args:
            phases: as `read_phases` returns them.
        """
        found: dict[str, int] = {}
        for phase, start, end in phases[["phase", "start", "end"]].itertuples(index=False):
            inside = [used for at, used in self.readings if start <= at <= end]
            if inside:
                found[phase] = max(found.get(phase, 0), *inside)
        return found
