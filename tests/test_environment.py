"""The installed environment is the locked one, the locks match their sources, and set-up resumes after an error."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import install
import preflight
import pytest
from packaging.version import Version

from medrlvr.pipeline.preflight import UNSAFE, check_path
from medrlvr.runtime.errors import UserError

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
KINDS = ["cpu", "gpu", "peer"]
"""What of the last is left out is what the CPU leaves out."""


def lock(kind):
    return install.pins((ENVS / f"{kind}.lock").read_text())


def requirements(kind):
    common = "" if kind == "peer" else (ENVS / "common.in").read_text() + "\n"
    return common + (ENVS / f"{kind}.in").read_text()


def sources(kind):
    return install.pins(requirements(kind))


def test_installed_versions_equal_the_lock():
    wanted = {name: Version(version) for name, version in install.expected().items()}
    have = {
        install.canonical(found.metadata["Name"]): Version(Version(found.version).public)
        for found in importlib.metadata.distributions(path=[str(install.site_packages(Path(sys.prefix)))])
    }
    have.pop(install.PROJECT, None)
    assert have == wanted


def test_torch_is_the_cpu_build():
    import torch

    assert torch.version.cuda is None
    install.require_cpu_build(torch.__version__)


@pytest.mark.parametrize("kind", KINDS)
def test_the_lock_agrees_with_its_sources(kind):
    wanted = sources(kind)
    assert wanted.items() <= lock(kind).items(), "run `make lock`"
    stated = [
        line for line in requirements(kind).splitlines() if line.split("#")[0].strip() and not line.startswith("-r ")
    ]
    assert len(stated) == len(wanted), "every line must be name==version, or its pin goes unchecked"


@pytest.mark.parametrize("kind", KINDS)
def test_the_lock_names_nothing_that_is_excluded_and_no_torch(kind):
    excluded = {
        line
        for line in (ENVS / f"excludes-{kind.replace('peer', 'cpu')}.in").read_text().splitlines()
        if not line.startswith("#")
    }
    assert excluded
    assert not lock(kind).keys() & (excluded | {"torch"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_pin_of_the_lock_has_a_hash(kind):
    text = (ENVS / f"{kind}.lock").read_text()
    entries = [entry for entry in text.split("\n") if "==" in entry and not entry.lstrip().startswith("#")]
    assert len(entries) == len(lock(kind))
    assert all(entry.endswith("\\") for entry in entries)


def test_the_same_torch_is_overridden_and_installed():
    torch = install.pins((ENVS / "torch.txt").read_text())
    assert list(torch) == ["torch"]
    assert torch == install.pins((ENVS / "overrides.in").read_text())


def test_no_file_names_a_package_registry():
    hosts = [f"{name}.org" for name in ("pypi", "pythonhosted", "download.pytorch", "anaconda", "npmjs")]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git clone")
    files = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    assert len(files) > 10
    found = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in files
        if path.is_file()
        for host in hosts
        if host.encode() in path.read_bytes()
    ]
    assert found == []


def test_pins_are_read_from_requirement_and_lock_files():
    text = "# a==1\nRay[default]==2.55.0 \\\n    --hash=sha256:00\n    # via b==2\nx_y==1.0+cpu # why\n-r z.in\n"
    assert install.pins(text) == {"ray": "2.55.0", "x-y": "1.0+cpu"}


def test_a_cuda_build_is_rejected_with_the_remedy():
    install.require_cpu_build("2.13.0+cpu")
    for version in ("2.13.0", "2.13.0+cu130", "2.13.0+rocm6.4"):
        with pytest.raises(install.Failure, match=r"make demo TORCH_INDEX_URL="):
            install.require_cpu_build(version)


def test_only_the_errors_of_pip_are_shown():
    noise = ["WARNING: Retrying\n"] * 20
    assert install.faults([*noise, "ERROR: no match\n", "  detail\n"]) == "  ERROR: no match\n    detail"
    assert len(install.faults(noise).splitlines()) == 8


def distribution(site, name, version, *, whole=True):
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").touch()
    if whole:
        (folder / "RECORD").touch()
    return folder


def test_partly_installed_packages_count_as_missing(tmp_path):
    whole, half = distribution(tmp_path, "ray", "2.55.0"), distribution(tmp_path, "typing_extensions", "4", whole=False)
    assert install.installed(tmp_path) == {"ray": "2.55.0"}
    install.remove_half_installed(tmp_path)
    assert whole.exists()
    assert not half.exists()


@pytest.fixture
def environment(tmp_path):
    """A folder that looks like a finished environment with pip 26.3."""
    site = install.site_packages(tmp_path)
    distribution(site, "pip", "26.3")
    (tmp_path / "pyvenv.cfg").write_text(f"version = 3.11.7\ncommand = /usr/bin/python3.11 -m venv {tmp_path}\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    return tmp_path


def move_away(venv):
    (venv / "pyvenv.cfg").write_text("command = /usr/bin/python3.11 -m venv /elsewhere/.venv\n")


def remove_interpreter(venv):
    (venv / "bin" / "python").unlink()
    (venv / "bin" / "python").symlink_to("/no/such/python3.11")


def halve_pip(venv):
    (install.site_packages(venv) / "pip-26.3.dist-info" / "RECORD").unlink()


def kill_pip_while_it_replaces(venv):
    (install.site_packages(venv) / "~umpy").mkdir()


def test_a_finished_environment_is_usable(environment):
    assert install.is_usable(environment, "26.3")


@pytest.mark.parametrize("damage", [move_away, remove_interpreter, halve_pip, kill_pip_while_it_replaces])
def test_a_broken_environment_is_not_usable(environment, damage):
    damage(environment)
    assert not install.is_usable(environment, "26.3")


def test_an_environment_with_another_pip_is_not_usable(environment):
    assert not install.is_usable(environment, "26.4")


def test_make_lists_its_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "test", "lock", "clean"):
        assert f"make {target} " in shown


def test_a_changed_lock_or_folder_needs_another_stamp(tmp_path):
    def stamp():
        shown = subprocess.run(["make", "-n", "setup"], cwd=folder, capture_output=True, text=True, check=True).stdout
        return shown.split()[-1]

    folder = tmp_path / "clone"
    (folder / "envs").mkdir(parents=True)
    for name in ("Makefile", "envs/pip.txt", "envs/torch.txt", "envs/cpu.lock"):
        (folder / name).write_text((ROOT / name).read_text())
    first = stamp()
    assert first.startswith(".venv/installed-")
    assert stamp() == first
    (folder / "envs" / "torch.txt").write_text("torch==0.0.0\n")
    changed = stamp()
    assert changed != first
    folder = folder.rename(tmp_path / "moved")
    assert stamp() not in (first, changed)


def test_no_target_replaces_an_environment_for_gpus(clone):
    """Its stamp stands for its own lock, and then counts as what every other target needs."""
    said = subprocess.run(["make", "-n", "setup-gpu"], cwd=clone, capture_output=True, text=True, check=True).stdout
    assert "envs/install_gpu.py .venv/gpu-" in said
    (stamp,) = {word for word in said.split() if word.startswith(".venv/gpu-")}
    (clone / stamp).parent.mkdir(exist_ok=True)
    (clone / stamp).touch()
    try:
        for target in ("setup", "setup-gpu"):
            then = subprocess.run(["make", "-n", target], cwd=clone, capture_output=True, text=True, check=True).stdout
            assert "Nothing to be done" in then
    finally:
        (clone / stamp).unlink()


@pytest.mark.parametrize(("failing", "asked"), [("test", ["test"]), ("test-extended", ["test", "test-extended"])])
def test_ci_names_the_target_that_failed(tmp_path: Path, failing: str, asked: list[str]) -> None:
    (tmp_path / "make").write_text(f'#!/bin/sh\necho "target $1"\ntest "$1" != {failing}\n')
    (tmp_path / "make").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    ran = subprocess.run(
        ["bash", ".ci/run"], cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stdout.splitlines() == [*(f"target {name}" for name in asked), f".ci/run: make {failing} failed"]


@pytest.mark.parametrize("folder", ["/a/my proj", "/a/it's", "/a/a&b (1)", "/a/$HOME", "/a/b\\c", "/a/{x}", "/a/b;c"])
def test_a_path_that_a_shell_would_split_is_rejected_here_and_before_set_up(folder: str) -> None:
    with pytest.raises(UserError, match="only letters, digits"):
        check_path(folder)
    assert UNSAFE.pattern == preflight.UNSAFE


@pytest.mark.parametrize("folder", ["/home/me/med-rlvr_2.0", "/data/\u00fcber/x", "/a+b/c@d"])
def test_other_paths_are_accepted(folder: str) -> None:
    check_path(folder)
