"""Free ports for processes that bind them some seconds later."""

import random
import socket
from contextlib import suppress
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FEWEST = 1000
"""Ports outside the ephemeral range below which two processes would often draw the same."""


def free_ports(count: int) -> list[int]:
    """Return ports that no program on this machine has.

    They are outside the ephemeral range, unless that range leaves too few. From the ephemeral range the system gives
    ports to every program, also in the seconds until the caller's process binds its own.
    """
    first, last = (int(word) for word in _EPHEMERAL.read_text(encoding="utf-8").split())
    outside = [port for port in range(10_000, 65_536) if not first <= port <= last]
    places = outside if len(outside) >= _FEWEST else range(first, last + 1)
    found: list[int] = []
    # A process that asks at the same time draws others.
    for port in random.SystemRandom().sample(places, len(places)):
        if len(found) == count:
            break
        with socket.socket() as one, suppress(OSError):
            one.bind(("", port))
            found.append(port)
    return found
