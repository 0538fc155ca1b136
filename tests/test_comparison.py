import html
import re
from pathlib import Path
from typing import Any

import pages
import pytest
import yaml
from evaluated import TAGGED, evaluate

from medrlvr.config.experiment import Experiment
from medrlvr.config.results_version import record_version
from medrlvr.dynamics.summary import summarise_run
from medrlvr.report import experiments
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import write_json, write_parquet

EXPERIMENT = pages.EXPERIMENT
SAMPLED = pages.rollouts([[TAGGED.format("A"), "no"]] * 3)


def finish(folder: Path, evaluated: dict[str, Any], experiment: Experiment, questions: str = "aaaa") -> Path:
    """The files of a finished experiment, as far as the comparison reads them."""
    (folder / "compare").mkdir(parents=True)
    (folder / "report.html").touch()
    record_version(folder)
    (folder / "config.yaml").write_text(yaml.safe_dump(experiment.overlay()), encoding="utf-8")
    write_json(folder / "compare/comparisons.json", {"arms": evaluated["comparisons"]["arms"]})
    inputs = {f"{folder}/data/benchmarks/{name}.parquet": f"sha256:{questions}" for name in EXPERIMENT.benchmarks}
    for model, records in evaluated["metrics"].items():
        (folder / "eval" / model).mkdir(parents=True)
        write_json(folder / "eval" / model / "metrics.json", {"records": records, "provenance": {"inputs": inputs}})
    (folder / "run").mkdir()
    run = pages.write_run(folder / "run", SAMPLED)
    dynamics = pages.read_parquet(run["dynamics"]).assign(arm="rlvr", seed=1)
    write_parquet(folder / "dynamics/rlvr/seed1.parquet", dynamics)
    responses = pages.read_parquet(run["responses"])
    write_json(folder / "dynamics/rlvr/seed1/stages.json", summarise_run(dynamics, SAMPLED, responses))
    return folder


@pytest.fixture(scope="module")
def evaluated() -> dict[str, Any]:
    return evaluate(EXPERIMENT)


def test_experiments_are_shown_side_by_side(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    values = EXPERIMENT.model_dump()
    values["arms"]["rlvr"]["kl_coefficient"] = 0.25
    one = finish(tmp_path / "one", evaluated, EXPERIMENT)
    other = finish(tmp_path / "other", evaluated, Experiment.model_validate(values), "bbbb")
    experiments.write_page([one, other], tmp_path / "comparison.html")
    page = html.unescape((tmp_path / "comparison.html").read_text(encoding="utf-8"))
    text = re.sub(r"\s*<[^>]+>\s*", "|", page)
    record = next(row for row in evaluated["metrics"]["rlvr/seed1"] if row["mode"] == "chain_of_thought")
    readings = ("accuracy", "accuracy_low", "accuracy_high", "lenient_accuracy")
    value, low, high, any_letter = (f"{100 * record[name]:.1f}" for name in readings)
    for name, questions in (("one", "aaaa"), ("other", "bbbb")):
        row = f"|{name}|rlvr, chain of thought|{value}|{low} to {high}|{any_letter}|"
        assert f"{row}seed1 {value} / {any_letter}|12|{questions}" in re.sub(r"\|+", "|", text)
    assert "arms.rlvr.kl_coefficient|0.01|0.25|" in re.sub(r"\|+", "|", text)
    assert "arms.rlvr.clip_range" not in text
    assert page.count("none") >= 2 and page.count("<svg") == 2 and "one, rlvr" in page
    assert {path.suffix for path in tmp_path.glob("comparison*")} == {".html", ".svg", ".pdf", ".csv"}


def test_an_interval_of_several_seeds_is_over_seeds(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    arms = [
        row | {"over_seeds": {"low": 0.111, "high": 0.222}} if row["arm"] == "rlvr" else row
        for row in evaluated["comparisons"]["arms"]
    ]
    folder = finish(tmp_path / "one", evaluated | {"comparisons": {"arms": arms}}, EXPERIMENT)
    rows = {row["arm"]: row for row in experiments.accuracy_rows(folder, EXPERIMENT)}
    assert (rows["rlvr"]["low"], rows["rlvr"]["high"]) == (0.111, 0.222)
    assert rows["base"]["low"] not in (None, 0.111)


def test_unfinished_experiments_and_equal_names_are_rejected(tmp_path: Path, evaluated: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"nowhere is not a finished experiment: config\.yaml is missing"):
        experiments.write_page([tmp_path / "nowhere"], tmp_path / "comparison.html")
    one = finish(tmp_path / "a/one", evaluated, EXPERIMENT)
    with pytest.raises(UserError, match="Two folders have the same name, one"):
        experiments.write_page([one, tmp_path / "b/one"], tmp_path / "comparison.html")
    assert not (tmp_path / "comparison.html").exists()
