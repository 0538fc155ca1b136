"""Warn before the host's memory is used up: at its limit, the kernel kills a process without a message."""

import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_WARN, _CLEAR = 0.90, 0.85
"""Shares of the memory at which a warning is printed, and below which the next one is possible."""

_GIB = 1024**3
_ROOT = Path("/sys/fs/cgroup")


def memory_in_use(root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> tuple[int, int]:
    """Return the bytes in use and the limit, of the control group or the machine with the larger share in use.

    Files that the kernel caches, and would drop, do not count as in use.

    Args:
        root: where control groups are mounted.
        membership: file with the control groups of this process.
    """
    machine = psutil.virtual_memory()
    found = [(machine.total - machine.available, machine.total)]
    found += [(used, limit) for used, limit in _groups(root, membership) if limit < machine.total]
    return max(found, key=lambda pair: pair[0] / pair[1])


def memory_limit(root: Path = _ROOT, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Return the bytes of memory that this process may use: the machine's, or the smallest limit of a control group.

    Args:
        root, membership: as for `memory_in_use`.
    """
    machine: int = psutil.virtual_memory().total
    return min([machine, *(limit for _, limit in _groups(root, membership))])


def _groups(root: Path, membership: Path) -> Iterable[tuple[int, int]]:
    text = membership.read_text(encoding="utf-8") if membership.is_file() else ""
    for controllers, path in re.findall(r"^\d+:([^:]*):(.*)$", text, re.MULTILINE):
        if controllers == "":
            top, names = root, ("memory.current", "memory.max", "inactive_file")
        elif "memory" in controllers.split(","):
            top, names = root / "memory", ("memory.usage_in_bytes", "memory.limit_in_bytes", "total_inactive_file")
        else:
            continue
        folder = top / path.lstrip("/")
        for group in (folder, *folder.parents):
            if not group.is_relative_to(top):
                break
            # A group without a limit, or one that another namespace hides, has no such files or "max" in them.
            with suppress(OSError, ValueError, AttributeError):
                used, limit = (int((group / name).read_text(encoding="utf-8")) for name in names[:2])
                stat = (group / "memory.stat").read_text(encoding="utf-8")
                cached = int(re.search(rf"^{names[2]} (\d+)$", stat, re.MULTILINE)[1])  # type: ignore[index]
                yield used - cached, limit


def largest_process() -> str:
    """Return the name, ID and resident memory of the process with most resident memory, as text."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            found.append((process.memory_info().rss, process.pid, process.name()))
    size, process_id, name = max(found)
    return f"{name}, process {process_id}, with {size / _GIB:.1f} GiB"


@dataclass
class MemoryWatch:
    """Call it often; it warns when 90 % of the host's memory is in use, once until the use has dropped below 85 %.

    Attributes:
        name: start of the warning.
        notify: prints a line for the user.
        interval: seconds between two looks.
        measure: returns bytes in use and the limit.
    """

    name: str
    notify: Callable[[str], None]
    interval: float = 5.0
    measure: Callable[[], tuple[int, int]] = memory_in_use
    _next: float = field(default=0.0, init=False)
    _warned: bool = field(default=False, init=False)

    def __call__(self) -> None:
        """Look at the memory if the last look is `interval` seconds old."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self.interval
        used, limit = self.measure()
        if used < _CLEAR * limit:
            self._warned = False
        elif used >= _WARN * limit and not self._warned:
            self._warned = True
            self.notify(
                f"{self.name}: {used / _GIB:.1f} of {limit / _GIB:.1f} GiB of host memory are in use"
                f" ({used / limit:.0%}). The largest process is {largest_process()}. At the limit, the system kills a"
                " process. Free memory, or lower the micro-batch sizes under machine."
            )
