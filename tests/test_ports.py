"""Ports that no program has and that the system gives to none."""

import socket
from pathlib import Path

import pytest

from medrlvr.training import ports


@pytest.mark.parametrize(("ephemeral", "inside"), [("32768 60999", False), ("10100\t65535\n", True)])
def test_ports_are_free_and_outside_the_ephemeral_range_if_it_leaves_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ephemeral: str, inside: bool
) -> None:
    (tmp_path / "range").write_text(ephemeral)
    monkeypatch.setattr(ports, "_EPHEMERAL", tmp_path / "range")
    first, last = map(int, ephemeral.split())
    found = ports.free_ports(7)
    assert len(set(found)) == 7
    assert {first <= port <= last for port in found} == {inside}


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as used:
        used.bind(("", 0))
        taken = used.getsockname()[1]
        monkeypatch.setattr(ports, "_FEWEST", 1)
        monkeypatch.setattr(ports.random.SystemRandom, "sample", lambda *_: [taken, *ports_after(taken)])
        assert taken not in ports.free_ports(1)


def ports_after(port: int) -> range:
    return range(port + 1, port + 200)


def test_too_few_free_ports_are_an_error_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports.random.SystemRandom, "sample", lambda *_: [])
    with pytest.raises(OSError, match="only 0 of 7 network ports are free"):
        ports.free_ports(7)
