"""The page that people open: one self-contained HTML file in which every number names the file it came from."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from medrlvr.files import read_parquet


def render_page(template: Path, values: Mapping[str, Any]) -> str:
    """Fill the template; every value is escaped, model output above all, but for the figures, which are our own SVG."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda value: f"{100 * value:.1f}"
    return environment.get_template(template.name).render(values)


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
    runs: Mapping[str, str | Path],
    selections: Mapping[str, str | Path],
    tables: Mapping[str, str | Path],
    figures: Sequence[str | Path],
    versions: Mapping[str, str],
    created: datetime,
) -> dict[str, Any]:
    """Return what the template is filled with.

    Args:
        experiment: the resolved configuration.
        metrics: as `read_metrics` returns it.
        titles: of every benchmark and control.
        design: as `evaluation.compare.Design` describes it.
        runs: <arm>/seed<n> of RLVR -> rollouts.parquet.
        selections: <arm>/seed<n> -> selection.json.
        tables: name in the template -> JSON file.
        figures: SVG files.
        versions: package -> version.
        created: now.
    """
    benchmarks = experiment["benchmarks"]
    rlvr = [arm for arm in experiment["arms"].values() if arm["trainer"] == "rlvr"]
    return {
        "title": experiment["title"],
        "experiment": experiment["experiment"],
        "claims": experiment["claims"],
        "created": created.strftime("%-d %B %Y, %H:%M UTC"),
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
        **{name: _read_json(path) for name, path in tables.items()},
        "last_taken": list(runs),
        "selections": {run: _read_json(path) for run, path in selections.items()},
        # The only values that are not escaped: SVG that draw_figures made from numbers.
        "figures": {Path(path).stem: Markup(inline_svg(Path(path))) for path in figures},
        "runs": [describe_run(name, read_parquet(path)) for name, path in runs.items()],
        "versions": dict(versions),
    }


def describe_run(name: str, rollouts: pd.DataFrame) -> dict[str, Any]:
    """Return a run's name, its updates and responses counted, and examples of the first, middle and last update."""
    updates = sorted(rollouts["update"].unique())
    shown = list(dict.fromkeys([updates[0], updates[len(updates) // 2], updates[-1]]))
    examples = pick_examples(rollouts, shown)
    return {"name": name, "updates": len(updates), "responses": len(rollouts), "examples": examples}


def pick_examples(rollouts: pd.DataFrame, updates: Sequence[int]) -> list[dict[Hashable, Any]]:
    """Return the first sampled response of each of `updates`: by position, so that nobody has chosen them."""
    rows = [rollouts[rollouts["update"] == update].head(1) for update in updates]
    return pd.concat(rows).to_dict("records")


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


def _read_json(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))
