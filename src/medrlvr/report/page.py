"""Render report.html: one self-contained file; every value is escaped, and only our own script may run."""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

TEMPLATES = Path(__file__).with_name("templates")

UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode categories of signs that show nothing or change how others are shown."""

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
"""Letters and marks that show nothing; variation selectors do not either."""


def render_page(values: Mapping[str, Any], name: str = "page", folder: Path = TEMPLATES) -> str:
    """Fill a template; every value is escaped, model output above all, but for figures, which are our own SVG.

    No script of the page runs but ours, whose hash the page's security policy holds.

    Args:
        values: as `page_values` returns them.
        name: of the template.
        folder: of the templates, with page.css and explorer.js.
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
