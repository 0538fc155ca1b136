"""The folder that holds the workflow, and paths that the user gives relative to another folder."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import medrlvr
from medrlvr.runtime.errors import UserError


def enter_root() -> Callable[[str], str]:
    """Change to the closest folder, from the working directory upward, that holds the workflow.

    If that folder is a clone with a library of its own, this process starts again with that library: a clone's own
    code takes precedence over an installed one.

    Returns:
        A function that turns a path as the user gave it into the same path relative to the root; absolute outside it.

    Raises:
        UserError: no such folder exists.
    """
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / "Snakefile").is_file()), None)
    if root is None or not (root / "src/medrlvr").is_dir():
        raise UserError(
            f"{here} is not in a clone of Med-RLVR: neither this folder nor a folder above it contains its Snakefile."
            " Change to the folder of your clone and start the command there."
        )
    _use_library_of(root)
    os.chdir(root)

    def from_root(path: str) -> str:
        absolute = os.path.normpath(here / path)
        return os.path.relpath(absolute, root) if Path(absolute).is_relative_to(root) else absolute

    return from_root


def profile_from(from_root: Callable[[str], str], profile: str | None) -> str | None:
    """Return a Snakemake profile as the root needs it: a name stays, a path with a separator is relative to it."""
    return from_root(profile) if profile and os.sep in profile else profile


def _use_library_of(root: Path) -> None:
    source = root / "src"
    folders = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if Path(medrlvr.__file__).parent.samefile(source / "medrlvr") or folders[:1] == [str(source)]:
        return
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(source), *folders])}
    os.execve(sys.executable, [sys.executable, "-m", "medrlvr.cli.main", *sys.argv[1:]], environment)
