"""Provenance of results, written into each JSON file of results."""

import hashlib
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import medrlvr
from medrlvr.runtime.fingerprint import fingerprint

PACKAGES = ("numpy", "pandas", "scipy", "statsmodels")


def provenance(inputs: Iterable[str | Path], command: str) -> dict[str, Any]:
    """Return the inputs' hashes, the versions of code and packages (for medrlvr, a hash of its code), and the command.

    Args:
        inputs: files that were read.
        command: command that computes the results again, run in the repository's root.
    """
    hashes = {}
    for path in map(Path, inputs):
        with path.open("rb") as stream:
            hashes[str(path)] = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
    versions = {"medrlvr": code_version(), "python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in PACKAGES}
    return {"inputs": hashes, "versions": versions, "command": command}


def code_version() -> str:
    """Return a hash of the code of this library, without its comments, docstrings and layout."""
    source = Path(medrlvr.__file__).parent
    return fingerprint(*(path.read_text(encoding="utf-8") for path in sorted(source.rglob("*.py"))))
