"""From the files and parameters of the rule render_report to the report."""

from pathlib import Path
from typing import Any

import pages
import pytest
import yaml
from evaluated import TAGGED, evaluate

from medrlvr.report import render
from medrlvr.report.controls import ControlFiles
from medrlvr.report.page_data import PageInputs
from medrlvr.report.render import RUN_FILES, SENSITIVITY_FILES, collect_inputs, write_report
from medrlvr.runtime.files import write_text

RESPONSES = pages.rollouts([[TAGGED.format("A")], [TAGGED.format("B")]])
MACHINE = pages.EXPERIMENT.machine.model_copy(update={"device": "cpu"})
NOW = pages.EXPERIMENT.model_copy(update={"machine": MACHINE})
FIELDS = {"models": "scores", "shown": "shown", "questions": "questions", "trained": "selections"}
"""Parameter with names -> field of the inputs."""


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, Any]:
    folder = tmp_path / "short"
    write_text(folder / "benchmarks/data/find_overlaps.tsv", "s\tmax_rss\tmean_load\n7\t1\t100\n")
    prepared = pages.prepare(folder, evaluate(NOW), RESPONSES) | {"experiment": NOW.model_dump(mode="json")}
    probed = {"rlvr/seed1": {name: folder / f"sensitivity/{name}" for name in SENSITIVITY_FILES}}
    return prepared | {"controls": ControlFiles(sensitivity=probed, samples=folder / "samples.json")}


def of_the_rule(expected: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the inputs and the parameters that the rule has for these fields."""
    names = {name: list(expected[field]) for name, field in FIELDS.items()}
    files = {name: [run[name] for run in expected["runs"].values()] for name in RUN_FILES}
    files |= {name: list(expected[name].values()) for name in ("checkpoints", "scores", "questions", "selections")}
    files |= {"metrics": list(expected["generations"].values()), "figures": expected["figures"], "explanation": ()}
    files |= {"glossary": expected["glossary"], **expected["tables"]}
    controls = expected["controls"]
    for name in SENSITIVITY_FILES:
        files[f"sensitivity_{name}"] = [run[name] for run in controls.sensitivity.values()]
    files |= {name: [path] if (path := getattr(controls, name)) else [] for name in ("samples", "formats")}
    design = expected["design"]
    params = {
        "runs": list(expected["runs"]),
        "probed": list(controls.sensitivity),
        "titles": expected["titles"],
        "records": expected["records"],
    }
    params |= {"design": {name: getattr(design, name) for name in design.__slots__}}
    params |= {"experiment": NOW.model_dump(mode="json", exclude={"machine"})}
    return files, params | names | {"gpus": {"training_gpus": {}, "asking_gpus": 0}}


def test_each_name_gets_its_file(expected: dict[str, Any]) -> None:
    files, params = of_the_rule(expected)
    found = collect_inputs(files, params, expected["results"], NOW)
    for name in (
        *FIELDS.values(),
        "runs",
        "checkpoints",
        "tables",
        "experiment",
        "design",
        "titles",
        "figures",
        "controls",
    ):
        assert getattr(found, name) == expected[name], name
    assert found.metrics.equals(expected["metrics"]) and [row["seconds"] for row in found.cost] == [7]
    assert {"vllm", "torch", "openrlhf"} <= {package.partition("-")[0] for package in found.versions}


@pytest.mark.parametrize(
    "name", ["metrics", "rollouts", "checkpoints", "scores", "questions", "selections", "sensitivity_answers"]
)
def test_a_name_without_a_file_is_an_error(expected: dict[str, Any], name: str) -> None:
    files, params = of_the_rule(expected)
    files[name] = files[name][:-1]
    with pytest.raises(ValueError, match="argument"):
        collect_inputs(files, params, expected["results"], NOW)


def test_the_report_and_its_configuration_are_written(
    expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, config = tmp_path / "report.html", tmp_path / "config.yaml"
    expected["controls"] = ControlFiles()
    said = write_report(PageInputs(**expected), NOW, page, config)
    assert said == f"report: {page.stat().st_size / 1e6:.1f} MB"
    assert yaml.safe_load(config.read_text(encoding="utf-8")) == NOW.overlay()
    monkeypatch.setattr(render, "LARGE", page.stat().st_size - 1)
    assert write_report(PageInputs(**expected), NOW, page, config).endswith("it may be too large for email")
