"""Style, types, imports and the workflow's lint by `make style`, at the same time as the other tests."""

import subprocess

import pytest


@pytest.mark.slow
def test_all_files_follow_the_style() -> None:
    said = subprocess.run(["make", "style"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
