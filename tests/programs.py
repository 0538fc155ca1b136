"""Programs that are no Python package: those of the distribution, installed where a machine lets us, else a reason."""

import os
import shutil
import subprocess

import pytest


def find_or_install(names: tuple[str, ...], package: str) -> str:
    """Return the path of the first program that exists; if none does, install it if allowed, else skip."""
    if not any(map(shutil.which, names)) and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
            subprocess.run(["apt-get", *command], env=environment, capture_output=True, check=False, timeout=600)
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"no {names[0]} here, and apt cannot install {package}; install it to run this test")
    return found
