"""The results in docs/controls.md are those of the shipped files, and these come from finished runs."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from medrlvr.reference.markdown import splice
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json, write_json


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/controls.py, which writes into a temporary folder."""
    spec = importlib.util.spec_from_file_location("benchmark_controls", "benchmarks/controls.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SHIPPED", tmp_path / "shipped")
    return module


def test_the_results_in_the_document_are_those_of_the_shipped_files(program: Any) -> None:
    text = program.DOCUMENT.read_text(encoding="utf-8")
    for name, block in program.blocks(Path("docs/controls")).items():
        assert splice(program.DOCUMENT, name, block) == text, f"run make controls, or splice {name} again"


def test_the_figure_is_that_of_the_shipped_steps(program: Any, tmp_path: Path) -> None:
    program.draw(tmp_path / "waterfall.svg", Path("docs/controls"))
    assert program.FIGURE.read_bytes() == (tmp_path / "waterfall.svg").read_bytes()


def finished(folder: Path, mark: str, *, shifts: bool = False) -> Path:
    """A results folder with the files of all controls but the shifts."""
    for name in ("waterfall", "samples", "formats"):
        write_json(folder / f"controls/{name}/{name}.json", {"mark": mark})
    records = [{"update": update, "measure": "used", "value": update / 100} for update in (0, 110)]
    write_json(folder / "controls/sensitivity/rlvr/seed2/sensitivity.json", {"records": records})
    shown = [{"model": mark}] if shifts else []
    write_json(folder / "compare/comparisons.json", {"shifts": shown, "controls": [], "provenance": {}})
    return folder


def test_each_file_comes_from_the_first_folder_that_has_it(program: Any, tmp_path: Path) -> None:
    first, second = finished(tmp_path / "a", "a"), finished(tmp_path / "b", "b", shifts=True)
    (first / "controls/formats/formats.json").unlink()
    program.export([first, second])
    found = {file.stem: read_json(file) for file in (tmp_path / "shipped").iterdir()}
    assert [found[name]["mark"] for name in ("waterfall", "samples", "formats")] == ["a", "a", "b"]
    assert found["shifts"]["shifts"] == [{"model": "b"}]
    assert found["sensitivity"]["runs"] == {"rlvr/seed2": [{"update": 110, "measure": "used", "value": 1.1}]}


@pytest.mark.parametrize(
    ("lacks", "message"),
    [("controls/samples/samples.json", "samples.json is not in"), (None, "no shifts of the options are in")],
)
def test_a_control_that_did_not_run_is_named(program: Any, tmp_path: Path, lacks: str | None, message: str) -> None:
    folder = finished(tmp_path / "a", "a")
    if lacks:
        (folder / lacks).unlink()
    with pytest.raises(UserError, match=message):
        program.export([folder])
    with pytest.raises(UserError, match="Name the results folders"):
        program.main([])
