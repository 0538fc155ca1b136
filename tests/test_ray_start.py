"""Ray starts although its agents are late."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from medrlvr.training.ray_start import AGENT_PORTS, give_agents_ports

ROOT = Path(__file__).parents[1]
STARTUP = ROOT / "src/medrlvr/training/startup"

LATE_AGENTS = """
import sys
import time

if any(word.endswith(("dashboard/agent.py", "runtime_env/agent/main.py")) for word in sys.orig_argv):
    time.sleep(20)

exec(open({file!r}).read())
"""
"""A start-up module that delays Ray's agents by more than the 15 seconds of the raylet, and then is the library's."""

ONE_TASK = """
import logging
import ray

ray.init(num_cpus=1, include_dashboard=False, object_store_memory=100 << 20, logging_level=logging.ERROR)
print(ray.get(ray.remote(lambda: 6 * 7).remote()))
"""


class Parameters(SimpleNamespace):
    """Like Ray's: a value that is not None is kept."""

    def update_if_absent(self, **values: int) -> None:
        for name, value in values.items():
            if getattr(self, name) is None:
                setattr(self, name, value)


def ports_in(folder: Path, node: str) -> dict[str, int]:
    return {name: int((folder / f"{name}_{node}").read_text()) for name in AGENT_PORTS}


def test_the_agents_get_ports_that_the_raylet_reads_from_its_files(tmp_path: Path) -> None:
    parameters = Parameters(**dict.fromkeys(AGENT_PORTS))
    give_agents_ports(parameters, str(tmp_path), "ab12")
    assert ports_in(tmp_path, "ab12") == vars(parameters)
    assert len(set(vars(parameters).values())) == len(AGENT_PORTS)


def test_ports_of_the_command_line_are_kept(tmp_path: Path) -> None:
    given = dict(zip(AGENT_PORTS, range(20_001, 20_005), strict=True))
    parameters = Parameters(**given)
    give_agents_ports(parameters, str(tmp_path), "ab12")
    assert vars(parameters) == ports_in(tmp_path, "ab12") == given


@pytest.mark.slow
@pytest.mark.extended
def test_ray_starts_and_works_before_its_late_agents(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(LATE_AGENTS.format(file=str(STARTUP / "sitecustomize.py")))
    folders = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    variables = {"PYTHONPATH": folders, "MEDRLVR_PATCHES": "ray_start", "RAY_ADDRESS": "local"}
    done = subprocess.run(
        [sys.executable, "-c", ONE_TASK], env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["42"], done.stderr[-2000:]
