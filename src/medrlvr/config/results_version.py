"""Record and check the version that wrote a results folder, in its file `version.json`.

Version 0.2.0 renamed settings, files and columns. A folder without `version.json` is older and uses the old names.
"""

from pathlib import Path

from medrlvr import __version__
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.files import read_json, write_json

LAYOUT = 2
"""Number to increase when the names of files, columns or settings in a results folder change."""

_FILE = "version.json"
_CONTENT = ("config.yaml", "data", "models", "checkpoints", "eval")


def record_version(results: Path) -> None:
    """Write the version into a results folder that does not contain one."""
    if not (results / _FILE).is_file():
        results.mkdir(parents=True, exist_ok=True)
        write_json(results / _FILE, {"medrlvr": __version__, "layout": LAYOUT})


def check_version(results: Path) -> None:
    """Check that this version can read a results folder, which may be absent or empty.

    Raises:
        UserError: another version wrote it.
    """
    file = results / _FILE
    if file.is_file():
        written = read_json(file)
        if written.get("layout") == LAYOUT:
            return
        version = f"medrlvr {written.get('medrlvr', 'of an unknown version')}"
    elif any((results / name).exists() for name in _CONTENT):
        version = "a version of medrlvr before 0.2.0"
    else:
        return
    raise UserError(
        f"{results}: {version} wrote this folder. Its names of files and settings differ from those of medrlvr"
        f" {__version__} (docs/glossary.md). Move it away and run again:\n  mv {results} {results}_old"
    )
