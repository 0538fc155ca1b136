"""Pages of the site that are not in docs/: documents of the repository's root and folders, and one page per package.

mkdocs calls the functions by their names. The links of documents lead to files of the repository; `on_page_markdown`
changes them to addresses of the site. A link to a file that is not on the site becomes plain text.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
OUTSIDE = {
    "README.md": "readme.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "results.md",
}
"""Document in the repository -> page of the site."""


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    for document, page in OUTSIDE.items():
        text = (ROOT / document).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for package in sorted((ROOT / "src/medrlvr").glob("*/__init__.py")):
        name = package.parent.name
        files.append(File.generated(config, f"api/{name}.md", content=f"::: medrlvr.{name}\n"))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Change the links of a page to addresses of the site."""
    sources = {page: document for document, page in OUTSIDE.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    folder = posixpath.dirname(page.file.src_uri) or "."

    def address(match: re.Match[str]) -> str:
        before, target, anchor = match["before"], match["target"], match["anchor"] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in OUTSIDE:
            return f"{before}({posixpath.relpath(OUTSIDE[path], folder)}{anchor})"
        if path.startswith("docs/"):
            return f"{before}({posixpath.relpath(path.removeprefix('docs/'), folder)}{anchor})"
        return before.strip("[]")

    return re.sub(r"(?P<before>\[[^]\n]*\])\((?!\w+:)(?P<target>[^)#\s]+)(?P<anchor>#[^)]*)?\)", address, markdown)
