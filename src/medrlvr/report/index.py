"""`results/index.html`: one self-contained page with a row for every experiment, and a comparison of any two."""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medrlvr.report.figures.style import STAGE_COLOURS, STAGE_NAMES
from medrlvr.report.folder_state import STATES
from medrlvr.report.index_rows import Gain, Row, describe_bands, read_rows
from medrlvr.report.page import TEMPLATES, render_page, visible
from medrlvr.runtime.errors import Interrupted, UserError
from medrlvr.runtime.files import write_text
from medrlvr.runtime.hold import hold
from medrlvr.runtime.progress import duration

NAME = "index.html"

PATIENCE = 60.0
"""Seconds to wait for another process that writes the index."""


def rebuild_index(root: Path, notify: Callable[[str], None]) -> None:
    """Write the index after a report. A failure is printed and not raised: the report is complete without the index.

    Args:
        root: the folder results/.
        notify: prints one line.
    """
    try:
        write_index(root)
    except Interrupted:
        raise
    except Exception as error:
        notify(f"The index was not rebuilt: {error}\nThe report is complete. `medrlvr index` rebuilds the index.")


def write_index(root: Path) -> list[Row]:
    """Write the index of a folder of experiments, and return its rows.

    Only one process reads the folders and writes the index at a time. Otherwise, of two experiments that end together,
    the one that read first could write last, and the index would show the other as unfinished.

    Args:
        root: the folder results/.

    Raises:
        UserError: the folder cannot be read, the index cannot be written, or another process writes it for longer than
            `PATIENCE`.
    """
    try:
        held = hold(root / ".running/index", f"writing {root / NAME}", PATIENCE)
        try:
            rows = read_rows(root)
            write_text(root / NAME, render_index(rows, datetime.now(UTC)))
        finally:
            Path(held.name).unlink(missing_ok=True)
            held.close()
    except OSError as error:
        raise UserError(f"{root / NAME} cannot be written: {error.strerror}. Make {root} accessible to you.") from None
    return rows


def render_index(rows: Sequence[Row], created: datetime) -> str:
    """Return the index as HTML. All texts are escaped, and only the index's own script may run.

    Args:
        rows: as `read_rows` returns them.
        created: time of rendering.
    """
    script = (TEMPLATES / "index.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    style = "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.css", "index.css"))
    used = {band["stage"] for row in rows for bands in row.results.stages.values() for band in bands}
    values = {
        "style": Markup(style),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
        "rows": [_cells(row, number) for number, row in enumerate(rows)],
        "colours": {stage: colour for stage, colour in STAGE_COLOURS.items() if stage in used},
        "stage_names": STAGE_NAMES,
        "comparison": comparison_values(rows),
        "created": created.strftime("%-d %B %Y, %H:%M UTC"),
    }
    return render_page(values, "index")


def _cells(row: Row, number: int) -> dict[str, Any]:
    """Return the texts of a row's cells, and the values by which the table is sorted."""
    date = datetime.fromtimestamp(row.state.date, UTC)
    return {
        "row": row,
        "number": number,
        "seeds": _seeds(row.seeds),
        "date": date.strftime("%Y-%m-%d %H:%M") if row.state.date else "",
        "over": {"SFT": row.results.over_sft, "base": row.results.over_base},
        "strips": [
            {"run": run, "text": describe_bands(bands), "width": bands[-1]["last"] if bands else 0, "bands": bands}
            for run, bands in row.results.stages.items()
        ],
        "time": "" if row.seconds is None else duration(row.seconds),
        "gpu_hours": _gpu_hours(row.gpu_hours),
        "order": {
            "title": row.title.lower(),
            "state": STATES.index(row.state.name),
            "sft": _first(row.results.over_sft),
            "base": _first(row.results.over_base),
            "date": row.state.date,
            "warnings": len(row.results.warnings),
            "seconds": "" if row.seconds is None else row.seconds,
        },
    }


def _first(gains: Sequence[Gain]) -> float | str:
    return gains[0].required_format.difference if gains else ""


def _seeds(seeds: Mapping[str, Sequence[int]]) -> str:
    """Return the seeds of the arms, such as "sft 1; rlvr 1, 2", or only the numbers if all arms have the same."""
    lists = {arm: ", ".join(map(str, numbers)) for arm, numbers in seeds.items()}
    if len(set(lists.values())) == 1:
        return next(iter(lists.values()))
    return "; ".join(f"{arm} {numbers}" for arm, numbers in lists.items())


def _gpu_hours(hours: float | None) -> str:
    return f"{hours:.1f} GPU-hours" if hours else ""


def comparison_values(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the values of the comparison of two experiments.

    A text is listed once, however many experiments have it.

    Returns:
        `names`: of the experiments, and `finished`: whether they are; `results` and `settings`: key, texts (each
        different one), and of (for each experiment the index of its text; None if it has none).
    """
    results = [_results(row) for row in rows]
    settings = [row.settings for row in rows]
    return {
        "names": [visible(row.name) for row in rows],
        "finished": [row.page is not None for row in rows],
        "results": _indexed(results),
        "settings": _indexed(settings),
    }


def _results(row: Row) -> dict[str, str]:
    texts = {
        "Title": row.title,
        "State": row.state.name,
        "Seeds": _seeds(row.seeds),
        **row.results.facts,
        "Warnings": "; ".join(row.results.warnings),
        "Time of all jobs": "" if row.seconds is None else duration(row.seconds),
        "GPU-hours": _gpu_hours(row.gpu_hours).removesuffix(" GPU-hours"),
    }
    return {label: text for label, text in texts.items() if text}


def _indexed(columns: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Return key, texts and of (see `comparison_values`) of each key, in the order of their first appearance."""
    found = []
    for key in dict.fromkeys(key for column in columns for key in column):
        texts = list(dict.fromkeys(column[key] for column in columns if key in column))
        places = {text: place for place, text in enumerate(texts)}
        of = [places[column[key]] if key in column else None for column in columns]
        found.append({"key": visible(key), "texts": [visible(text) for text in texts], "of": of})
    return found
