"""The page that people open: one self-contained HTML file in which every number names the file it came from."""

import base64
import hashlib
import json
import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup

from medrlvr.files import read_parquet
from medrlvr.report import explorer
from medrlvr.report.figures import STAGE_NAMES

SECTIONS = {
    "claims": "The paper's claims",
    "data": "Data",
    "evaluation": "Evaluation",
    "dynamics": "Training dynamics",
    "explorer": "Responses",
    "cost": "Cost and speed",
    "provenance": "Provenance",
}
"""Template, which is also the place on the page -> title."""

LEVEL = 5
"""Updates whose responses are taken together where a level of an indicator is told."""

UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode categories of signs that show nothing or change how others are shown."""

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
"""Letters and marks that show nothing; variation selectors do not either."""


def render_page(folder: Path, values: Mapping[str, Any], name: str = "page") -> str:
    """Fill a template; every value is escaped, model output above all, but for figures, which are our own SVG.

    No script of the page runs but ours, whose hash the page's security policy holds.

    Args:
        folder: of the templates, with page.css and explorer.js.
        values: as `page_values` returns them.
        name: of the template.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    environment.filters["visible"] = visible
    environment.filters["address"] = lambda parts: "/".join(quote(str(part), safe="") for part in parts)
    script = (folder / "explorer.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = {
        "style": Markup((folder / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
    }
    return environment.get_template(f"{name}.html.jinja").render(page | dict(values))


def visible(text: str) -> str:
    """Return a text in which each sign that shows nothing, or turns others around, is replaced by its number."""
    return "".join(f"[U+{ord(sign):04X}]" if _is_unseen(sign) else sign for sign in text)


def _is_unseen(sign: str) -> bool:
    selector = "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef"
    return sign not in "\n\t" and (selector or sign in BLANK or unicodedata.category(sign) in UNSEEN)


def inline_svg(path: Path) -> str:
    """Return the `<svg>` element of a figure, without XML prologue, its ids made unique by the figure's name.

    Two figures on one page share an id space: without the prefix one figure's clip path cuts the other's.
    """
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    return re.sub(
        r'(\bid="|url\(#|href="#)([^")]+)',
        lambda match: f"{match[1]}{path.stem}-{match[2]}" if match[2] in ids else match[0],
        svg,
    )


def page_values(
    experiment: Mapping[str, Any],
    metrics: pd.DataFrame,
    *,
    titles: Mapping[str, str],
    design: Mapping[str, Any],
    runs: Mapping[str, Mapping[str, str]],
    generations: Mapping[str, str | Path],
    scores: Mapping[str, str | Path],
    questions: Mapping[str, str | Path],
    selections: Mapping[str, str | Path],
    tables: Mapping[str, str | Path],
    figures: Sequence[str | Path],
    cost: Sequence[Mapping[str, Any]],
    records: Sequence[Mapping[str, str]],
    results: Path,
    versions: Mapping[str, str],
    created: datetime,
) -> dict[str, Any]:
    """Return what the template is filled with.

    Args:
        experiment: the resolved configuration.
        metrics: as `read_metrics` returns it.
        titles: of every benchmark and control.
        design: as `evaluation.compare.Design` describes it.
        runs: <arm>/seed<n> of RLVR -> its files: rollouts, responses, dynamics (parquet) and stages (JSON).
        generations: model -> metrics.json, of which `generation` is read.
        scores: model -> scores.parquet, of those that are shown side by side.
        questions: benchmark, and train -> questions' parquet.
        selections: <arm>/seed<n> -> selection.json.
        tables: name in the template -> JSON file.
        figures: SVG files.
        cost: as `cost.stage_costs` returns it.
        records: file, rule and log of every step.
        results: the experiment's folder.
        versions: package -> version.
        created: now.
    """
    benchmarks = experiment["benchmarks"]
    rlvr = [arm for arm in experiment["arms"].values() if arm["trainer"] == "rlvr"]
    shown = [(model, mode, _read(path)) for model, path in scores.items() for mode in _shown_modes(model, design)]
    tests, cut = explorer.pack_tests(shown, {name: _read(questions[name]) for name in benchmarks})
    share = (explorer.LIMIT - len(tests)) // len(runs)
    train = _read(questions["train"])
    described, samples, speed = [], [], []
    # One after the other: the responses of many runs together would fill the memory.
    for name, files in runs.items():
        read = {kind: _read(path) for kind, path in files.items()}
        run = describe_run(name, read)
        labels = read["responses"]["label"]
        samples.append(explorer.sample_rollouts(name, read["rollouts"], labels, train, _examples(run), share))
        speed.append(describe_speed(name, read["dynamics"]))
        described.append(run)
    loaded = {name: _read_json(path) for name, path in tables.items()}
    weights = {model: " ".join(_read_json(path)["generation"]["weights"]) for model, path in generations.items()}
    return {
        "sections": SECTIONS,
        "title": experiment["title"],
        "experiment": experiment["experiment"],
        "claims": experiment["claims"],
        "created": created.strftime("%-d %B %Y, %H:%M UTC"),
        "about": experiment["about"],
        "answers": answers(metrics, benchmarks, design, loaded["comparisons"]["sanity"]),
        "resamples": experiment["evaluation"]["bootstrap_resamples"],
        "temperature": ", ".join(str(arm["temperature"]) for arm in rlvr),
        "titles": dict(titles),
        "benchmarks": benchmarks,
        "metrics": [
            {**row, "judged": row["mode"] == design["modes"][row["model"].split("/")[0]][0]}
            for row in metrics.to_dict("records")
            if row["benchmark"] in benchmarks
        ],
        "papers_experiment": design["papers"],
        **loaded,
        "last_taken": list(runs),
        "selections": {run: _read_json(path) for run, path in selections.items()},
        # With the packed texts, which are base64, the only values that are not escaped: SVG that we made from numbers.
        "figures": {Path(path).stem: Markup(inline_svg(Path(path))) for path in figures},
        "runs": described,
        "shown_arm": design["rlvr"],
        "stage_names": STAGE_NAMES,
        "labels": list(STAGE_NAMES)[:-1],
        "grades": explorer.GRADES,
        "samples": samples,
        "tests": {"models": list(scores), "cut": cut},
        "payloads": {"tests": Markup(tests)} | {sample.name: Markup(sample.text) for sample in samples},
        "cost": cost,
        "speed": speed,
        "machine_text": describe_machine(experiment["machine"], loaded["base_metrics"]["generation"]["hardware"]),
        "records": [_record(row, results) for row in records],
        "weights": weights,
        "folder": str(results),
        "again": f".venv/bin/snakemake --cores 1 --configfile {results}/config.yaml --forcerun {results}/FILE",
        "cores": experiment["machine"]["threads"],
        "code": loaded["comparisons"]["provenance"]["versions"]["medrlvr"],
        "settings": yaml.safe_dump(dict(experiment), sort_keys=False, allow_unicode=True),
        "versions": dict(versions),
        "engine": loaded["base_metrics"]["generation"]["versions"],
    }


def answers(
    metrics: pd.DataFrame, benchmarks: Mapping[str, Any], design: Mapping[str, Any], sanity: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Return what the first screen tells of base, SFT and RLVR.

    Returns:
        `tests`: title, place (in or out of distribution), n and guess (accuracy of uniform guesses) of each benchmark;
        `rows`: arm, mode, seeds, and `cells` for each benchmark: accuracy and lenient_accuracy (means over seeds), low
        and high (one seed: 95 % interval over questions; several: their range).
    """
    tests, rows = [], []
    for name, benchmark in benchmarks.items():
        guess = next(row for row in sanity[name] if row["policy"] == "uniform random")
        place = "in distribution" if benchmark["distribution"] == "in" else "out of distribution"
        tests.append({"title": benchmark["title"], "place": place, "n": guess["n"], "guess": guess["accuracy"]})
    for arm, mode in _main(design):
        own = metrics[metrics["model"].isin(design["models"][arm]) & (metrics["mode"] == mode)]
        groups = [own[own["benchmark"] == name] for name in benchmarks]
        cells = [
            {
                "accuracy": group["accuracy"].mean(),
                "lenient_accuracy": group["lenient_accuracy"].mean(),
                "low": group["accuracy_low" if len(group) == 1 else "accuracy"].min(),
                "high": group["accuracy_high" if len(group) == 1 else "accuracy"].max(),
            }
            for group in groups
        ]
        rows.append({"arm": arm, "mode": mode, "seeds": max(map(len, groups)), "cells": cells})
    return {"tests": tests, "rows": rows}


def _main(design: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the arms that the paper's question is about, each with the mode by which it is judged."""
    trained = [(arm, design["modes"][arm][0]) for arm in (design["sft"], design["rlvr"]) if arm]
    return [("base", mode) for _, mode in trained if mode in design["modes"]["base"]] + trained


def _shown_modes(model: str, design: Mapping[str, Any]) -> list[str]:
    arm = model.split("/")[0]
    if arm in ("base", design["sft"]):
        return [mode for mode in design["modes"][arm] if mode != design["constrained"]]
    return list(design["modes"][arm][:1])


def describe_run(name: str, files: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's name, stages, levels of the hack meter, and examples of the first, middle and last update."""
    rollouts = files["rollouts"]
    updates = sorted(rollouts["update"].unique())
    shown = list(dict.fromkeys([updates[0], updates[len(updates) // 2], updates[-1]]))
    levels = describe_levels(files["dynamics"], list(files["stages"]["indicators"]))
    return {"name": name, "stages": files["stages"], "levels": levels, "examples": pick_examples(rollouts, shown)}


def describe_levels(dynamics: pd.DataFrame, indicators: Sequence[str]) -> list[dict[str, Any]]:
    """Return of each indicator of the hack meter the first, highest and last mean over `LEVEL` updates.

    Args:
        dynamics: as `dynamics.table.tabulate` returns it.

    Returns:
        name, first, most, last (means weighted by the responses of valid format, 0 where there are none), and at: the
        last update of those with the highest mean.
    """
    trained = dynamics[dynamics["responses"].notna()].reset_index(drop=True)
    weights = trained["responses"] * trained["valid_format"]
    sums = weights.rolling(LEVEL, min_periods=1).sum()
    rows = []
    for name in indicators:
        means = (trained[name].fillna(0) * weights).rolling(LEVEL, min_periods=1).sum() / sums.replace(0, float("nan"))
        whole = means.fillna(0).iloc[min(LEVEL, len(means)) - 1 :]
        at = int(trained["update"][whole.idxmax()])
        rows.append({"name": name, "first": whole.iloc[0], "most": whole.max(), "at": at, "last": whole.iloc[-1]})
    return rows


def pick_examples(rollouts: pd.DataFrame, updates: Sequence[int]) -> list[dict[Hashable, Any]]:
    """Return the first sampled response of each of `updates`: by position, so that nobody has chosen them."""
    rows = [rollouts[rollouts["update"] == update].head(1) for update in updates]
    return pd.concat(rows).to_dict("records")


def _examples(run: Mapping[str, Any]) -> list[tuple[int, str, int]]:
    """Return update, question and sample of every response that a run's description shows."""
    stages = [stage["example"] for stage in run["stages"]["stages"] if stage["example"]]
    rows = [*stages, *run["stages"]["self_verification"]["examples"], *run["examples"]]
    return [(row["update"], row["question_id"], row["sample"]) for row in rows]


def describe_speed(name: str, dynamics: pd.DataFrame) -> dict[str, Any]:
    """Return a run's updates, responses and speed, over all updates but the first, which waits for what is loaded.

    Args:
        dynamics: as `dynamics.table.tabulate` returns it.
    """
    trained = dynamics[dynamics["responses"].notna()]
    warm = trained.iloc[1:] if len(trained) > 1 else trained
    seconds, responses = float(warm["seconds"].sum()), float(warm["responses"].sum())
    tokens = float((warm["tokens"] * warm["responses"]).sum())
    return {
        "name": name,
        "updates": len(trained),
        "responses": int(trained["responses"].sum()),
        "seconds": float(warm["seconds"].median()),
        "samples_per_second": responses / seconds,
        "tokens_per_second": tokens / seconds,
        "tokens": tokens / responses,
        "shares": {
            name: float(warm[f"{name}_seconds"].sum()) / seconds for name in ("sampling", "scoring", "training")
        },
    }


def describe_machine(machine: Mapping[str, Any], hardware: Sequence[str]) -> str:
    """Return in words where an experiment ran: what generation.json calls the hardware, and how much of it."""
    if machine["device"] == "cpu":
        return f"a CPU (threads of each process: {machine['threads']})"
    gpus, nodes = machine["gpus_per_node"], machine.get("nodes", 1)  # results of before nodes have one
    training = (
        f"{gpus} on each of {nodes} nodes for RLVR, {gpus} for other training" if nodes > 1 else f"{gpus} for training"
    )
    return f"{' and '.join(hardware)}, {training} and 1 for answers"


def _record(row: Mapping[str, str], results: Path) -> dict[str, Any]:
    path = Path(row["file"])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    names = {name: str(Path(row[name]).relative_to(results)) for name in ("file", "log")}
    return {**row, **names, "hash": digest[:16], "bytes": path.stat().st_size}


def read_metrics(paths: Mapping[str, str], titles: Mapping[str, str]) -> pd.DataFrame:
    """Read every model's metrics.json into one table, with the columns model and title (of the benchmark) in front.

    Args:
        paths: model -> file.
        titles: benchmark -> title; also the order of the rows.
    """
    records = [
        {"model": model, "title": titles[record["benchmark"]], **record}
        for benchmark in titles
        for model, path in paths.items()
        for record in _read_json(path)["records"]
        if record["benchmark"] == benchmark
    ]
    return pd.DataFrame(records)


def _read(path: str | Path) -> Any:
    return _read_json(path) if Path(path).suffix == ".json" else read_parquet(path)


def _read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
