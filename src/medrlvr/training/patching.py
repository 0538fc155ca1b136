"""Patch pinned third-party modules during import, and raise an error if their source is not as expected.

A patch is applied to its module's source before the code runs, or to the module right after. No module is imported
early, so a process imports only what it uses.
"""

import difflib
import importlib.abc
import importlib.machinery
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

_REMEDY = "Install the versions in envs/cpu.lock or envs/gpu.lock (`make setup`), or adapt the patch to the new source."


class PinnedSourceError(ImportError):
    """A third-party module is not the version that the patches were written for."""


@dataclass(frozen=True)
class Replacement:
    """Exact text that a module's source contains `count` times, and the text that replaces it."""

    old: str
    new: str
    count: int = 1


@dataclass(frozen=True)
class Patch:
    """Changes to one module.

    Attributes:
        replacements: replacements in the source, made before it is compiled.
        after: function called with the module after its code has run.
        stand_ins: function that creates modules that exist only while this module is imported.
    """

    replacements: Sequence[Replacement] = ()
    after: Callable[[ModuleType], None] | None = None
    stand_ins: Callable[[], Mapping[str, ModuleType]] = field(default=dict)


def replace_text(source: str, replacements: Sequence[Replacement], filename: str) -> str:
    """Return `source` with all replacements made.

    Raises:
        PinnedSourceError: a text does not occur as often as expected; the message names the file, the text and the
            closest line.
    """
    for item in replacements:
        found = source.count(item.old)
        if found != item.count:
            raise PinnedSourceError(
                f"{filename} is not the pinned version: expected {item.count} occurrence(s), found {found}, of"
                f" {item.old!r}."
                f" {_closest_line(source, item.old)} {_REMEDY}"
            )
        source = source.replace(item.old, item.new)
    return source


def replace_function(module: ModuleType, name: str, new: Callable[..., object]) -> None:
    """Replace a module's function with `new`, which must have the same parameters.

    Raises:
        PinnedSourceError: the function does not exist, or its parameters differ; the message names the file and line.
    """
    old = getattr(module, name, None)
    if old is None:
        raise PinnedSourceError(f"{module.__file__} is not the pinned version: there is no function {name}. {_REMEDY}")
    expected, actual = list(inspect.signature(new).parameters), list(inspect.signature(old).parameters)
    if expected != actual:
        line = inspect.getsourcelines(old)[1]
        raise PinnedSourceError(
            f"{module.__file__}, line {line}, is not the pinned version: found {name}({', '.join(actual)}), expected"
            f" {name}({', '.join(expected)}). {_REMEDY}"
        )
    setattr(module, name, new)


def install(*sets: Mapping[str, Patch]) -> None:
    """Apply patches to modules imported from now on.

    Args:
        sets: patches by module name. If several sets patch a module, all their changes apply, in order.
    """
    sys.meta_path.insert(0, _Finder(merged(sets)))


def merged(sets: Sequence[Mapping[str, Patch]]) -> dict[str, Patch]:
    """Return one patch for each module, with the changes of all sets in order."""
    names = dict.fromkeys(name for patches in sets for name in patches)
    return {name: _merged([patches[name] for patches in sets if name in patches]) for name in names}


def _merged(patches: Sequence[Patch]) -> Patch:
    def after(module: ModuleType) -> None:
        for patch in patches:
            if patch.after is not None:
                patch.after(module)

    return Patch(
        replacements=[replacement for patch in patches for replacement in patch.replacements],
        after=after,
        stand_ins=lambda: {name: module for patch in patches for name, module in patch.stand_ins().items()},
    )


def _closest_line(source: str, wanted: str) -> str:
    lines = source.splitlines()
    first = wanted.splitlines()[0]
    close = difflib.get_close_matches(first.strip(), [line.strip() for line in lines], n=1, cutoff=0.5)
    if not close:
        return "No line is similar."
    number = next(i for i, line in enumerate(lines, 1) if line.strip() == close[0])
    return f"The closest line is line {number}: {close[0]!r}."


@contextmanager
def _present(modules: Mapping[str, ModuleType]) -> Iterator[None]:
    missing = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(missing)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: importlib.machinery.SourceFileLoader, patch: Patch) -> None:
        self._inner, self._patch = inner, patch

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _present(self._patch.stand_ins()):
            if self._patch.replacements:
                filename = self._inner.get_filename(module.__name__)
                source = Path(filename).read_text(encoding="utf-8")
                code = compile(replace_text(source, self._patch.replacements, filename), filename, "exec")
                exec(code, module.__dict__)
            else:
                self._inner.exec_module(module)
        if self._patch.after is not None:
            self._patch.after(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, patches: Mapping[str, Patch]) -> None:
        self._patches = patches

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self._patches:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader, self._patches[name])
        return spec
