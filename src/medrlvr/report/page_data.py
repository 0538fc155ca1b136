"""Values of the report's template from result files, with one builder per section."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from medrlvr.config.design import ComparisonDesign
from medrlvr.report import explorer
from medrlvr.report.causal import Panels, pack_panels
from medrlvr.report.charts import chart_values, describe_curves
from medrlvr.report.controls import ControlFiles, control_values
from medrlvr.report.figures.style import STAGE_NAMES
from medrlvr.report.gain import gain_values
from medrlvr.report.glossary import read_glossary
from medrlvr.report.overview import arm_label, describe_gain, find_results, model_label, signed
from medrlvr.report.page import inline_svg
from medrlvr.report.run_summary import describe_machine, describe_run, describe_speed, shown_examples
from medrlvr.report.trust import trust_facts
from medrlvr.runtime.files import read_json_value, read_parquet

SECTIONS = {
    "claims": "Result",
    "dynamics": "How it came about",
    "explorer": "Responses",
    "real": "Is it real?",
    "evaluation": "All numbers",
    "data": "Data",
    "cost": "Cost",
    "provenance": "Provenance",
}
"""Section -> title. The section is the name of its template and the anchor in the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageInputs:
    """All inputs of the report.

    Attributes:
        experiment: the settings.
        metrics: as `read_metrics` returns it.
        titles: benchmark or control -> title.
        design: the experiment's comparison design.
        runs: <arm>/seed<n> of RLVR -> its files: rollouts, responses, dynamics (parquet) and stages (JSON).
        checkpoints: run -> grades.parquet of its checkpoints.
        generations: model -> metrics.json; only the key `generation` is read.
        scores: model -> scores.parquet.
        shown: models whose answers the report contains, side by side.
        questions: benchmark or "train" -> parquet file with questions.
        selections: <arm>/seed<n> -> selection.json.
        tables: name in the template -> JSON file.
        glossary: docs/glossary.md.
        figures: SVG files.
        cost: as `cost.phase_costs` returns it.
        records: file, rule and log of every record.
        results: the experiment's folder.
        versions: package -> version.
        created: time of rendering.
        explanation: files that show what the gain consists of, as `gain.gain_values` takes them.
        controls: files of the controls of docs/controls.md that ran.
    """

    experiment: Mapping[str, Any]
    metrics: pd.DataFrame
    titles: Mapping[str, str]
    design: ComparisonDesign
    runs: Mapping[str, Mapping[str, str]]
    checkpoints: Mapping[str, str | Path]
    generations: Mapping[str, str | Path]
    scores: Mapping[str, str | Path]
    shown: Sequence[str]
    questions: Mapping[str, str | Path]
    selections: Mapping[str, str | Path]
    tables: Mapping[str, str | Path]
    glossary: str | Path
    figures: Sequence[str | Path]
    cost: Sequence[Mapping[str, Any]]
    records: Sequence[Mapping[str, str]]
    results: Path
    versions: Mapping[str, str]
    created: datetime
    explanation: Sequence[str | Path] = ()
    controls: ControlFiles = field(default_factory=ControlFiles)


def page_values(inputs: PageInputs) -> dict[str, Any]:
    """Return the values of the report's template."""
    loaded = {name: read_json_value(path) for name, path in inputs.tables.items()}
    controls = _controls(inputs, loaded)
    responses = _responses(inputs, controls.pop("payloads"))
    return {
        "sections": SECTIONS,
        **loaded,
        **_head(inputs),
        **_first_screen(inputs, loaded, responses["runs"]),
        **_evaluation(inputs),
        **responses,
        **controls,
        **_cost(inputs, loaded["base_metrics"]["generation"]),
        **_provenance(inputs, loaded),
    }


def _head(inputs: PageInputs) -> dict[str, Any]:
    experiment = inputs.experiment
    return {
        **{name: experiment[name] for name in ("title", "experiment", "claims", "about")},
        "glossary": read_glossary(Path(inputs.glossary)),
        "created": inputs.created.strftime("%-d %B %Y, %H:%M UTC"),
        # Our own SVG, made from numbers. Only figures and the packed texts, which are base64, are not escaped.
        "figures": {Path(path).stem: Markup(inline_svg(Path(path))) for path in inputs.figures},
    }


def _first_screen(inputs: PageInputs, loaded: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the findings of each benchmark, the verdicts of the claims, and the facts about trust."""
    comparisons, design = loaded["comparisons"], inputs.design
    verdicts = Counter(row["verdict"] for row in loaded["verdict"]["claims"])
    findings = find_results(inputs.metrics, comparisons, inputs.experiment["benchmarks"], design)
    named = dict(zip(inputs.experiment["benchmarks"], findings, strict=True))
    return {
        "findings": findings,
        **gain_values(inputs.explanation, loaded["verdict"], named),
        "describe_gain": describe_gain,
        "signed": signed,
        "verdicts": dict(verdicts.most_common()),
        "trust": trust_facts(inputs.metrics, comparisons["controls"], loaded["data_card"], runs, design),
    }


def _evaluation(inputs: PageInputs) -> dict[str, Any]:
    experiment, design, benchmarks = inputs.experiment, inputs.design, inputs.experiment["benchmarks"]
    return {
        "arm_label": partial(arm_label, design=design),
        "model_label": partial(model_label, design=design),
        "titles": dict(inputs.titles),
        "benchmarks": benchmarks,
        "metrics": [
            {**row, "primary": row["mode"] == design.modes[row["model"].split("/")[0]][0]}
            for row in inputs.metrics.to_dict("records")
            if row["benchmark"] in benchmarks
        ],
        "errors": [
            {**{name: row[name] for name in ("benchmark", "title", "model", "mode")}, "error": row["relative_error"]}
            for row in inputs.metrics.to_dict("records")
            if isinstance(row.get("relative_error"), dict) and row["benchmark"] in benchmarks
        ],
        "loglikelihood": design.loglikelihood,
        "rlvr_models": design.models[design.rlvr] if design.rlvr else [],
        "rlvr_mode": design.primary(design.rlvr).mode if design.rlvr else None,
        "first_models": [design.models[arm][0] for arm in ("base", design.sft, design.rlvr) if arm],
        "evidence": experiment["evaluation"]["evidence"] if inputs.metrics["invented"].notna().any() else None,
        "papers_experiment": design.papers,
        "last_taken": list(inputs.runs),
        "selections": {run: read_json_value(path) for run, path in inputs.selections.items()},
    }


def _controls(inputs: PageInputs, loaded: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the controls, the causal panels, or None without any, and their embedded texts."""
    files, design = inputs.controls, inputs.design
    titles = {name: inputs.titles[name] for name in inputs.experiment["benchmarks"]}
    bands = {run: read_json_value(inputs.runs[run]["stages"])["bands"] for run in files.sensitivity}
    values = control_values(files, loaded["comparisons"], loaded["verdict"], titles, bands, design)
    charts = {name: one["chart"] for name, one in values.items() if one and "chart" in one}
    panels = _panels(inputs) if files.sensitivity else None
    payloads = {"controls": explorer.pack(charts)} if charts else {}
    if panels:
        payloads["causal"] = panels.text
    return {"gain_controls": values, "panels": panels, "payloads": payloads}


def _panels(inputs: PageInputs) -> Panels:
    responses = {}
    for run in inputs.controls.sensitivity:
        if run in inputs.scores:
            scores = _read(inputs.scores[run])
            responses[run] = scores[scores["mode"] == inputs.design.modes[run.split("/")[0]][0]]
    questions = {name: _read(inputs.questions[name]) for name in inputs.experiment["benchmarks"]}
    names = {
        "runs": {run: model_label(run, inputs.design) for run in inputs.controls.sensitivity},
        "benchmarks": {name: inputs.titles[name] for name in questions},
    }
    return pack_panels(inputs.controls.sensitivity, questions, responses, names)


def _responses(inputs: PageInputs, others: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of the sections dynamics and explorer.

    Args:
        inputs: the inputs of the report.
        others: other embedded texts, which leave less space for the responses.
    """
    benchmarks = inputs.experiment["benchmarks"]
    answers = _answers(inputs)
    asked = {name: _read(inputs.questions[name]) for name in benchmarks}
    tests, cut = explorer.pack_tests(answers, asked, partial(model_label, design=inputs.design))
    checkpoints = explorer.pack_checkpoints({run: _read(path) for run, path in inputs.checkpoints.items()}, benchmarks)
    used = sum(map(len, (tests, checkpoints, *others.values())))
    train = _read(inputs.questions["train"])
    runs = _runs(inputs, train, (explorer.LIMIT - used) // len(inputs.runs))
    texts = {"tests": tests, "checkpoints": checkpoints}
    for sample in runs["samples"]:
        texts |= {f"{sample.name} facts": sample.facts, sample.name: sample.text}
    rlvr = [arm for arm in inputs.experiment["arms"].values() if arm["trainer"] == "rlvr"]
    return {
        **runs,
        **_names_of_grades(inputs, train, asked),
        "temperature": ", ".join(str(arm["temperature"]) for arm in rlvr),
        "answers": [(one.model, one.mode) for one in answers],
        "once": {(row["model"], row["mode"]) for row in inputs.metrics.to_dict("records") if row["samples"] == 1},
        "tests": {"models": list(inputs.shown), "cut": cut},
        "payloads": {name: Markup(text) for name, text in {**texts, **others}.items()},
    }


def _runs(inputs: PageInputs, train: pd.DataFrame, share: int) -> dict[str, Any]:
    """Return what is shown of each run, in lists, and the charts of all runs.

    Args:
        train: questions of the training.
        share: maximum number of characters of one run's embedded responses.
    """
    runs, samples, speed, curves = [], [], [], []
    # Read one run at a time: the responses of many runs together would not fit in memory.
    for name, files in inputs.runs.items():
        read = {kind: _read(path) for kind, path in files.items()}
        run = describe_run(name, read)
        samples.append(
            explorer.sample_rollouts(name, read["rollouts"], read["responses"], train, shown_examples(run), share)
        )
        speed.append(describe_speed(name, read["dynamics"]))
        curves.append(describe_curves(name, read["dynamics"], read["stages"]))
        runs.append(run)
    charts = chart_values(curves, inputs.titles, partial(model_label, design=inputs.design))
    chart_data = Markup(explorer.pack(charts))
    return {"runs": runs, "samples": samples, "speed": speed, "charts": charts, "chart_data": chart_data}


def _names_of_grades(inputs: PageInputs, train: pd.DataFrame, asked: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the names of stages, grades, columns and outcomes by which the responses can be filtered."""
    checked = inputs.experiment["evaluation"]["evidence"]
    steps = explorer.STEPS if checked not in (None, "text") else {}
    return {
        "stage_names": STAGE_NAMES,
        "labels": list(STAGE_NAMES)[:-1],
        "grades": explorer.GRADES,
        "lenient_grades": explorer.LENIENT_GRADES,
        "answer_columns": explorer.answer_columns(train),
        "test_answer_columns": explorer.answer_columns(pd.concat(asked.values())),
        "answer_outcomes": explorer.OUTCOMES | steps | (explorer.INVENTED if checked else {}),
    }


def _answers(inputs: PageInputs) -> list[explorer.Answers]:
    """Return every model's answers in every mode; those that the report shows come first."""
    found = []
    for model, path in inputs.scores.items():
        table = _read(path)
        shown = _shown_modes(model, inputs.design) if model in inputs.shown else []
        modes = inputs.design.modes[model.split("/")[0]]
        found += [explorer.first_answers(model, mode, table, shown=mode in shown) for mode in modes]
    return sorted(found, key=lambda one: not one.shown)


def _cost(inputs: PageInputs, generation: Mapping[str, Any]) -> dict[str, Any]:
    machine = inputs.experiment["machine"]
    return {
        "cost": inputs.cost,
        "machine_text": describe_machine(machine, generation["hardware"]),
        "cores": machine["threads"],
    }


def _provenance(inputs: PageInputs, loaded: Mapping[str, Any]) -> dict[str, Any]:
    results = inputs.results
    weights = {model: read_json_value(path)["generation"]["weights"] for model, path in inputs.generations.items()}
    return {
        "records": [_record(row, results) for row in inputs.records],
        "weights": {model: " ".join(digests) for model, digests in weights.items()},
        "folder": str(results),
        "again": f".venv/bin/snakemake --cores 1 --configfile {results}/config.yaml --forcerun {results}/FILE",
        "code": loaded["comparisons"]["provenance"]["versions"]["medrlvr"],
        "settings": yaml.safe_dump(dict(inputs.experiment), sort_keys=False, allow_unicode=True),
        "versions": dict(inputs.versions),
        "engine": loaded["base_metrics"]["generation"]["versions"],
    }


def _shown_modes(model: str, design: ComparisonDesign) -> list[str]:
    arm = model.split("/")[0]
    if arm in ("base", design.sft):
        return [mode for mode in design.modes[arm] if mode != design.loglikelihood]
    return list(design.modes[arm][:1])


def _record(row: Mapping[str, str], results: Path) -> dict[str, Any]:
    path = Path(row["file"])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    names = {name: str(Path(row[name]).relative_to(results)) for name in ("file", "log")}
    return {**row, **names, "hash": digest[:16], "bytes": path.stat().st_size}


def _read(path: str | Path) -> Any:
    return read_json_value(path) if Path(path).suffix == ".json" else read_parquet(path)
