"""Render report.html: one self-contained file. Every value is escaped, and only the report's own script may run."""

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
"""Unicode categories of characters that are invisible or change how other characters are shown."""

EXPLORER = ("explorer_data", "explorer_text", "explorer_lists", "explorer")
"""Files of the explorer's script, in the order in which they run."""

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
"""Invisible letters and marks, in addition to variation selectors."""


def render_page(values: Mapping[str, Any], name: str = "page", folder: Path = TEMPLATES) -> str:
    """Fill a template. Every value is escaped, model output in particular, except figures, which are our own SVG.

    The Content-Security-Policy contains the hash of the explorer's script, so browsers run no other script.

    Args:
        values: as `page_values` returns them.
        name: name of the template.
        folder: folder with the templates, page.css, explorer.css and the files of the explorer's script.
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
    script = _script(folder)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = {
        "style": Markup("".join((folder / name).read_text(encoding="utf-8") for name in ("page.css", "explorer.css"))),
        "script": Markup(script),
        "script_hash": f"sha256-{digest}",
    }
    return environment.get_template(f"{name}.html.jinja").render(page | dict(values))


def _script(folder: Path) -> str:
    """Return the explorer's script. Its names are local, so that they do not clash with those of other scripts."""
    parts = [(folder / f"{name}.js").read_text(encoding="utf-8") for name in EXPLORER]
    return '"use strict";\n(() => {\n' + "".join(parts) + "})();\n"


def visible(text: str) -> str:
    """Replace each character that is invisible, or changes the text direction, by its code point."""
    return "".join(f"[U+{ord(sign):04X}]" if _is_unseen(sign) else sign for sign in text)


def _is_unseen(sign: str) -> bool:
    selector = "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef"
    return sign not in "\n\t" and (selector or sign in BLANK or unicodedata.category(sign) in UNSEEN)


def inline_svg(path: Path) -> str:
    """Return the `<svg>` element of a figure, without the XML prologue, with the figure's name as a prefix of each id.

    All figures of an HTML file share their ids. Without the prefix, one figure would use the clip path of another.
    """
    svg = path.read_text(encoding="utf-8")
    svg = svg[svg.index("<svg") :]
    ids = set(re.findall(r'\bid="([^"]+)"', svg))
    return re.sub(
        r'(\bid="|url\(#|href="#)([^")]+)',
        lambda match: f"{match[1]}{path.stem}-{match[2]}" if match[2] in ids else match[0],
        svg,
    )
