"""What preflight.py prints for machines that lack something, and that the Pythons it rejects can parse it."""

import ast
import os
import subprocess
from pathlib import Path

import preflight
import pytest

SCRIPT = Path(preflight.__file__)
GOOD = preflight.Facts(
    system="Linux",
    machine="x86_64",
    processor_flags={"sse4_2", "avx", "avx2"},
    glibc=(2, 36),
    python=(3, 11, 2),
    implementation="CPython",
    executable="/usr/bin/python3.11",
    has_venv=True,
    writable=True,
    free_disk=20 * preflight.GB,
    installed=0,
    free_memory=16 * preflight.GB,
    folder="/home/user/med-rlvr_2.0",
)


def test_a_good_machine_is_accepted():
    assert preflight.problems(GOOD) == []
    assert preflight.cautions(GOOD) == []


@pytest.mark.parametrize(
    ("changed", "fault", "way_out"),
    [
        ({"system": "Darwin"}, "macOS is not supported", "Linux machine"),
        ({"system": "Windows"}, "Windows is not supported", "WSL 2"),
        ({"machine": "aarch64"}, "aarch64, not x86-64", "Intel or AMD"),
        ({"processor_flags": {"sse4_2", "avx"}}, "no AVX2", "newer processor"),
        ({"glibc": (2, 31)}, "glibc 2.31", "Ubuntu 22.04"),
        ({"glibc": None}, "not glibc", "Debian 12"),
        ({"python": (2, 7, 18)}, "CPython 2.7.18", "PYTHON="),
        ({"python": (3, 10, 13)}, "CPython 3.10.13", "PYTHON="),
        ({"python": (3, 12, 1)}, "CPython 3.12.1", "PYTHON="),
        ({"implementation": "PyPy"}, "PyPy 3.11.2", "PYTHON="),
        ({"has_venv": False}, "cannot create virtual environments", "apt install python3.11-venv"),
        ({"writable": False}, "cannot be written to", "Clone into"),
        ({"folder": "/home/me/my proj"}, "' ' in its path", "only letters, digits"),
        ({"folder": "/home/me/a&b"}, "'&' in its path", "only letters, digits"),
        ({"folder": "/home/me/{x}"}, "'{' in its path", "only letters, digits"),
        ({"free_disk": 5 * preflight.GB}, "5.0 GB of disk is free", "still need 6.0 GB"),
    ],
)
def test_each_fault_is_named_with_a_remedy(changed, fault, way_out):
    (text,) = preflight.problems(GOOD._replace(**changed))
    assert fault in text
    assert way_out in text


def test_all_faults_are_named_at_once():
    bad = GOOD._replace(system="Darwin", machine="arm64", python=(3, 9, 6), free_disk=0)
    assert len(preflight.problems(bad)) == 4


def test_what_is_already_installed_needs_no_more_disk():
    assert preflight.problems(GOOD._replace(free_disk=4 * preflight.GB, installed=3 * preflight.GB)) == []


def test_unknown_processor_flags_exclude_nothing():
    assert preflight.problems(GOOD._replace(processor_flags=None)) == []


def test_little_memory_is_a_warning_and_not_a_fault():
    small = GOOD._replace(free_memory=5 * preflight.GB)
    assert preflight.problems(small) == []
    assert "5.0 GB of memory is free" in preflight.cautions(small)[0]
    assert preflight.cautions(GOOD._replace(free_memory=None)) == []


def test_processor_flags_are_read_from_cpuinfo():
    assert preflight.parse_processor_flags("processor\t: 0\nflags\t\t: fpu avx2 bmi2\n") == {"fpu", "avx2", "bmi2"}
    assert preflight.parse_processor_flags("Features\t: fp asimd\n") is None


@pytest.mark.parametrize(
    ("limit", "free"),
    [("", 4194304), ("max\n", 4194304), ("1048576\n", 1048576), ("9999999999\n", 4194304)],
)
def test_free_memory_is_the_smaller_of_the_machine_and_its_control_group(limit, free):
    assert preflight.parse_free_memory("MemTotal: 9000 kB\nMemAvailable:    4096 kB\n", limit) == free


def test_free_memory_of_an_unknown_kernel_is_unknown():
    assert preflight.parse_free_memory("", "") is None


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8", "3.12"])
def test_another_python_is_rejected_without_a_traceback(version, tmp_path):
    found = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no Python {version} here")
    run = subprocess.run([found[-1], SCRIPT, tmp_path], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"CPython {version}." in run.stderr
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_script_stays_within_the_syntax_of_old_pythons():
    newer = (ast.JoinedStr, ast.NamedExpr, ast.AnnAssign, ast.AsyncFunctionDef, ast.YieldFrom, ast.Nonlocal)
    for node in ast.walk(ast.parse(SCRIPT.read_text(), feature_version=(3, 4))):
        assert not isinstance(node, newer), f"line {node.lineno}"
        assert getattr(node, "annotation", None) is None and getattr(node, "returns", None) is None
        assert not getattr(node, "kwonlyargs", None)
