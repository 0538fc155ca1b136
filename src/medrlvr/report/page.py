"""Render report.html: one self-contained file. Every value is escaped, and only the report's own scripts may run."""

import base64
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import jinja2
from markupsafe import Markup

from medrlvr.report.explorer import pack

TEMPLATES = Path(__file__).with_name("templates")

STYLES = ("page.css", "charts.css", "controls.css", "explorer.css")
SCRIPTS = (
    ("tables.js",),
    ("unpack.js", "plot.js", "charts.js"),
    ("unpack.js", "plot.js", "text.js", "steps.js", "controls.js", "causal.js"),
    ("unpack.js", "text.js", "explorer_data.js", "explorer_text.js", "explorer_lists.js", "explorer.js"),
)
"""The report's scripts; each consists of files, in the order in which they run."""

LIBRARY = Path(__file__).with_name("vendor") / "plot.min.js"
"""What the charts use of Observable Plot. The report embeds it packed, and charts.js inserts it."""

UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
"""Unicode categories of characters that are invisible or change how other characters are shown."""

BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
"""Invisible letters and marks, in addition to variation selectors."""


def render_page(values: Mapping[str, Any], name: str = "page", folder: Path = TEMPLATES) -> str:
    """Fill a template. Every value is escaped, model output in particular, except figures, which are our own SVG.

    The Content-Security-Policy contains the hashes of `SCRIPTS` and of `LIBRARY`, so browsers run no other script.

    Args:
        values: as `page_values` returns them.
        name: name of the template.
        folder: folder with the templates, `STYLES` and `SCRIPTS`.
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
    environment.filters["first_sentence"] = first_sentence
    environment.filters["zip"] = zip
    environment.filters["python"] = lambda values: ", ".join(map(json.dumps, values))
    environment.filters["slug"] = lambda text: re.sub(r"\W+", "-", text.lower())
    environment.filters["responses"] = lambda values: f"#responses?{urlencode(values)}"
    environment.filters["address"] = lambda parts: "/".join(quote(str(part), safe="") for part in parts)
    scripts = [_script(folder, files) for files in SCRIPTS]
    library = LIBRARY.read_text(encoding="utf-8")
    page = {
        "style": Markup("".join((folder / style).read_text(encoding="utf-8") for style in STYLES)),
        "scripts": [Markup(script) for script in scripts],
        "script_hashes": Markup(" ".join(_source(script) for script in (*scripts, library))),
        "chart_library": Markup(pack(library)),
    }
    return environment.get_template(f"{name}.html.jinja").render(page | dict(values))


def _script(folder: Path, files: Sequence[str]) -> str:
    """Return a script of several files. Its names are local, so that they do not clash with those of other scripts."""
    parts = [(folder / name).read_text(encoding="utf-8") for name in files]
    return '"use strict";\n(() => {\n' + "".join(parts) + "})();\n"


def _source(script: str) -> str:
    """Return a script's entry in the Content-Security-Policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def first_sentence(text: str) -> tuple[str, str]:
    """Divide a text into its first sentence and the rest; a dot inside a number ends no sentence."""
    first, *rest = re.split(r"(?<=[.!?])\s+", text.strip(), maxsplit=1)
    return first, "".join(rest)


def visible(text: str) -> str:
    """Replace each character that is invisible, or changes the text direction, by its code point."""
    return "".join(f"[U+{ord(sign):04X}]" if _is_unseen(sign) else sign for sign in text)


def _is_unseen(sign: str) -> bool:
    selector = "\ufe00" <= sign <= "\ufe0f" or "\U000e0100" <= sign <= "\U000e01ef"
    return sign not in "\n\t" and (selector or sign in BLANK or unicodedata.category(sign) in UNSEEN)


def inline_svg(path: Path) -> str:
    """Return the `<svg>` element of a figure, without the XML prologue, with the figure's name as a prefix of each id.

    All figures of an HTML file share their ids. Without the prefix, one figure would use the clip path of another.
    Attributes keep two decimals, a hundredth of a point. White space between elements, comments, ids that nothing
    refers to and all but the first and last of alternative fonts are removed. Repeated styles become classes.
    """
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<!--.*?-->", "", svg[svg.index("<svg") :])
    svg = re.sub(r">\s+<", "><", svg)
    svg = re.sub(r'="[^"]*"', lambda match: _shortened(match[0]), svg)
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(
        r'( id="|url\(#|href="#)([^")]+)("?)',
        lambda match: f"{match[1]}{path.stem}-{match[2]}{match[3]}" if match[2] in used else "",
        svg,
    )
    return _with_classes(svg, path.stem)


def _with_classes(svg: str, prefix: str) -> str:
    """Return a figure in which a class replaces each style that occurs more than once."""
    counts = Counter(re.findall(r' style="([^"]+)"', svg))
    names = {style: f"{prefix}-{number}" for number, style in enumerate(s for s in counts if counts[s] > 1)}
    if not names:
        return svg
    svg = re.sub(
        r' style="([^"]+)"', lambda match: f' class="{names[match[1]]}"' if match[1] in names else match[0], svg
    )
    rules = "".join(f".{name}{{{style}}}" for style, name in names.items())
    return svg.replace(">", f"><style>{rules}</style>", 1)


def _shortened(attribute: str) -> str:
    """Return an attribute of an SVG element with two decimals, two fonts, and without spaces that have no meaning."""
    text = " ".join(re.sub(r"(\.\d\d)\d+", r"\1", attribute).split())
    text = re.sub(r"(font-family: '[^']+')(?:, '[^']+')*", r"\1", text)
    return re.sub(r" ?\b([MLQC]) |([:;]) ", r"\1\2", text)
