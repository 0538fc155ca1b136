"""The distribution: it has no dependencies, its parts install alone, and its public interface is typed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TOOLS = {
    *("pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "mutmut", "ruff", "mypy", "snakefmt", "import-linter"),
    *("pandas-stubs", "types-pyyaml"),
}
"""What only the development of this repository needs."""

USE = """
import sys
before = set(sys.modules)
import json
from pathlib import Path
from medrlvr.grading import grade, load_reward
paper = load_reward("paper")
for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines():
    case = json.loads(line)
    found = grade(case["response"], case["options"], case["gold"], case["form"], truncated=case["truncated"])
    assert {name: getattr(found, name) for name in case["expected"]} == case["expected"], case
    assert paper(found) in (-1.0, 0.0, 1.0)
import medrlvr
print(medrlvr.__file__)
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))
"""

TYPED = """
from medrlvr.grading import LETTERS, Grade, grade, load_reward

found = grade("<think>a</think><answer>B</answer>", ["x", "y"], 1)
reveal_type(found)
reveal_type(found.letter)
reveal_type(load_reward({"paper": 1.0, "leak_penalty": {"weight": 0.5}})(found))
reveal_type(LETTERS)
letter: str = found.letter
grade(1, ["x", "y"], 1)
"""


def test_the_extra_names_the_locked_packages_and_the_base_none() -> None:
    lines = (ROOT / "envs/common.in").read_text(encoding="utf-8").splitlines()
    locked = {line.split("#")[0].strip() for line in lines} - {""}
    assert PROJECT["dependencies"] == []
    assert set(PROJECT["optional-dependencies"]) == {"pipeline"}
    extra = set(PROJECT["optional-dependencies"]["pipeline"])
    assert extra <= locked
    assert {re.split(r"[\[=]", pin)[0] for pin in locked - extra} == TOOLS


def start(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that does not see this repository's library."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def run(*command: object, cwd: Path) -> str:
    done = start(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(hook: str, source: Path, folder: Path) -> Path:
    """Build a distribution as pip does, but with the setuptools of this environment and without a network."""
    folder.mkdir()
    program = f"from setuptools import build_meta; print(build_meta.{hook}({str(folder)!r}))"
    return folder / run(sys.executable, "-c", program, cwd=source).splitlines()[-1]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A wheel of the source tree, and one of the unpacked source distribution."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    archive = build("build_sdist", source, folder / "sdist")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return {
        "wheel": build("build_wheel", source, folder / "wheel"),
        "sdist": build("build_wheel", unpacked, folder / "wheel_of_sdist"),
    }


@pytest.mark.slow
@pytest.mark.extended
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_distribution_installs_alone_and_grades(wheels: dict[str, Path], kind: str, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    run(*pip, "install", "--quiet", "--no-index", wheels[kind], cwd=tmp_path)
    assert {row["name"] for row in json.loads(run(*pip, "list", "--format", "json", cwd=tmp_path))} == {"medrlvr"}

    (tmp_path / "use.py").write_text(USE, encoding="utf-8")
    file, loaded = run(python, "-I", "use.py", ROOT / "tests/golden/grades.jsonl", cwd=tmp_path).splitlines()
    assert file.startswith(str(tmp_path)) and loaded == "medrlvr"

    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    said = start(sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "typed.py", cwd=tmp_path)
    assert re.findall(r"typed.py:(\d+): (error|note): (.*)", said.stdout) == [
        ("5", "note", 'Revealed type is "medrlvr.grading.grader.Grade"'),
        ("6", "note", 'Revealed type is "str | None"'),
        ("7", "note", 'Revealed type is "float"'),
        ("8", "note", 'Revealed type is "str"'),
        (
            "9",
            "error",
            'Incompatible types in assignment (expression has type "str | None", variable has type "str")'
            "  [assignment]",
        ),
        ("10", "error", 'Argument 1 to "grade" has incompatible type "int"; expected "str"  [arg-type]'),
    ]

    line = {"response": "<think>x</think><answer>B</answer>", "options": ["x", "y"], "gold": "B"}
    (tmp_path / "in.jsonl").write_text(json.dumps(line), encoding="utf-8")
    command = tmp_path / "empty/bin/medrlvr"
    assert json.loads(run(command, "grade", "in.jsonl", "--processes", 2, cwd=tmp_path))["correct"] is True
    done = start(command, "grade", "in.jsonl", "--out", "out.parquet", cwd=tmp_path)
    assert done.returncode == 1
    assert "a parquet file needs the package pyarrow, which " in done.stderr and "medrlvr[pipeline]" in done.stderr
