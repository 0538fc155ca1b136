"""Find free ports for processes that bind them some seconds later."""

import random
import socket
from contextlib import suppress
from pathlib import Path

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FEWEST = 1000
"""Minimum number of ports outside the ephemeral range; with fewer, two processes would often draw the same port."""


def free_ports(count: int) -> list[int]:
    """Return ports that no program on this machine uses.

    The ports are outside the ephemeral range, unless that range leaves too few. The system may give ephemeral ports to
    any program, even in the seconds before the caller's process binds its own.

    Raises:
        OSError: there are not that many.
    """
    first, last = (int(word) for word in _EPHEMERAL.read_text(encoding="utf-8").split())
    outside = [port for port in range(10_000, 65_536) if not first <= port <= last]
    places = outside if len(outside) >= _FEWEST else range(first, last + 1)
    found: list[int] = []
    # The order is random, so that a concurrent process draws other ports.
    for port in random.SystemRandom().sample(places, len(places)):
        if len(found) == count:
            break
        with socket.socket() as one, suppress(OSError):
            one.bind(("", port))
            found.append(port)
    if len(found) < count:
        raise OSError(f"only {len(found)} of {count} network ports are free on this machine")
    return found
