"""The page that people open: one self-contained HTML file in which every number names the file it came from."""

import json
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd


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
        for record in json.loads(Path(path).read_text(encoding="utf-8"))
        if record["benchmark"] == benchmark
    ]
    return pd.DataFrame(records)
