"""Collect the packages of `make setup-gpu` for a machine without a network; `make wheelhouse` runs this script.

    python3.11 envs/wheelhouse.py FOLDER [--part-mib N]
    python3.12 envs/wheelhouse.py FOLDER --image torch2.11 [--part-mib N]

Run it with the version of Python that the other machine has. With an image, only the packages that the image lacks are
collected, and files that its card never loads are removed from them. The folder envs/<image> contains these lists.

A wheelhouse is a folder of wheels with a manifest. With --part-mib it consists of folders part-01, part-02, ..., which
can be transferred one by one. Each contains the manifest. Wheels that do not fit into the rest of a part are cut.
"""

import argparse
import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from install import ENVS, Failure, canonical, faults, pins

MANIFEST = "manifest.json"
MIB = 1 << 20
LARGE = 2 * MIB
MANIFEST_BYTES = MIB // 4
"""Largest size of a manifest, which each part contains; that of 186 wheels has 45 kB."""


@dataclass(frozen=True)
class Piece:
    """One file of a wheelhouse: a wheel, or a part of one.

    Attributes:
        file: its name.
        size: bytes.
        sha256: of its content, in hexadecimal digits.
    """

    file: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What a wheelhouse contains, and for which machine.

    Attributes:
        python: version of Python, such as 3.12.
        image: name of a folder in envs/; empty for a machine without torch of its own.
        lock: digest of the requirement files from which it was collected, by `digest_of_locks`.
        wheels: name of each wheel -> its pieces in order.
    """

    python: str
    image: str
    lock: str
    wheels: dict[str, list[Piece]]


def locks(image: str, envs: Path = ENVS) -> list[Path]:
    """Return the requirement files of a wheelhouse.

    Args:
        image: name of a folder in `envs`; empty for none.
        envs: folder of the requirement files.
    """
    if image:
        return [envs / "pip.txt", envs / image / "lock.txt"]
    return [envs / "pip.txt", envs / "torch.txt", envs / "gpu.lock"]


def python_version(image: str, envs: Path = ENVS) -> str:
    """Return the version of Python, such as 3.12, that a wheelhouse is for; arguments as for `locks`."""
    return pins((envs / image / "image.txt").read_text())["python"] if image else "3.11"


def digest_of_locks(image: str, envs: Path = ENVS) -> str:
    """Return the SHA-256 of the names and versions in the requirement files; arguments as for `locks`."""
    versions = pins("\n".join(path.read_text() for path in locks(image, envs)))
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def read_trims(text: str) -> dict[str, list[str]]:
    """Return canonical name of a distribution -> patterns of the files to remove, from the text of a trims.txt."""
    trims: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words:
            name, pattern = words
            trims.setdefault(name, []).append(pattern)
    return trims


def trim(wheel: Path, patterns: Iterable[str]) -> None:
    """Remove files from a wheel and from its RECORD, and compress the others with LZMA.

    Args:
        wheel: the wheel, which is replaced.
        patterns: shell patterns of paths in the wheel.

    Raises:
        Failure: a pattern matches no file, as after a change of the package's version.
    """
    trimmed = wheel.with_suffix(".trimmed")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(trimmed, "w", zipfile.ZIP_LZMA) as new:
        unwanted: set[str] = set()
        for pattern in patterns:
            matches = fnmatch.filter(old.namelist(), pattern)
            if not matches:
                raise Failure(f"{wheel.name} contains no file {pattern}. Correct this line of trims.txt.")
            unwanted.update(matches)
        for member in old.infolist():
            if member.filename in unwanted:
                continue
            content = old.read(member)
            if member.filename.endswith(".dist-info/RECORD"):
                rows = content.decode().splitlines(keepends=True)
                content = "".join(row for row in rows if row.split(",")[0] not in unwanted).encode()
            member.compress_type = zipfile.ZIP_LZMA
            new.writestr(member, content)
    trimmed.replace(wheel)


def trim_all(wheels: Iterable[Path], trims: dict[str, list[str]]) -> None:
    """Trim the wheels of an image that have unwanted files, or are large: with LZMA they need a tenth less space.

    Args:
        wheels: the wheels, some of which are replaced.
        trims: as `read_trims` returns them.

    Raises:
        Failure: as for `trim`.
    """
    for wheel in wheels:
        patterns = trims.get(canonical(wheel.name.partition("-")[0]), [])
        if patterns or wheel.stat().st_size > LARGE:
            print(f"wheelhouse: trimming and compressing {wheel.name}", flush=True)
            trim(wheel, patterns)


def split(wheels: Iterable[Path], folder: Path, part_bytes: int | None) -> dict[str, list[Piece]]:
    """Move wheels into a wheelhouse and return its pieces.

    Args:
        wheels: the wheels, which are removed.
        folder: the wheelhouse.
        part_bytes: largest size of a part, without the manifest; None for a folder without parts.

    Returns:
        Name of each wheel -> its pieces in order.
    """
    if part_bytes is None:
        moved = [Path(shutil.move(wheel, folder / wheel.name)) for wheel in wheels]
        return {path.name: [Piece(path.name, path.stat().st_size, sha256(path))] for path in moved}
    pieces: dict[str, list[Piece]] = {}
    part, free = 0, 0
    for wheel in wheels:
        found = pieces[wheel.name] = []
        with wheel.open("rb") as source:
            while content := source.read(free or part_bytes):
                if free == 0:
                    part, free = part + 1, part_bytes
                free -= len(content)
                whole = len(content) == wheel.stat().st_size
                name = wheel.name if whole else f"{wheel.name}.{len(found) + 1:02}"
                target = folder / f"part-{part:02}" / name
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(content)
                found.append(Piece(name, len(content), hashlib.sha256(content).hexdigest()))
        wheel.unlink()
    return pieces


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into each part of a wheelhouse, or into the folder if it has no parts."""
    text = json.dumps(asdict(manifest), indent=1) + "\n"
    for place in sorted(folder.glob("part-*")) or [folder]:
        (place / MANIFEST).write_text(text)


def places(folder: Path) -> Iterator[Path]:
    """Yield the folders in which the files of a wheelhouse can be."""
    yield folder
    yield from sorted(path for path in folder.glob("part-*") if path.is_dir())


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a wheelhouse, from the folder itself or from any of its parts.

    Raises:
        Failure: there is none, or the parts belong to different wheelhouses.
    """
    texts = {path.read_text() for place in places(folder) if (path := place / MANIFEST).is_file()}
    if not texts:
        raise Failure(
            f"{folder} is not a wheelhouse: neither it nor a folder part-* in it contains {MANIFEST}. "
            "Create one with `make wheelhouse` on a machine with a network."
        )
    if len(texts) > 1:
        raise Failure(
            f"The parts in {folder} belong to different wheelhouses: their files {MANIFEST} differ. "
            "Delete the parts and transfer all parts of one wheelhouse."
        )
    values = json.loads(texts.pop())
    wheels = {name: [Piece(**piece) for piece in pieces] for name, pieces in values.pop("wheels").items()}
    return Manifest(wheels=wheels, **values)


def check_pieces(folder: Path, manifest: Manifest) -> dict[str, Path]:
    """Return name -> path of each piece of a wheelhouse, after a comparison of all with the manifest.

    Raises:
        Failure: pieces are missing or damaged; the text names each.
    """
    found = {path.name: path for place in places(folder) for path in place.iterdir()}
    faulty = []
    for piece in (piece for pieces in manifest.wheels.values() for piece in pieces):
        path = found.get(piece.file)
        if path is None:
            faulty.append(f"{piece.file} is missing")
        elif path.stat().st_size != piece.size:
            faulty.append(f"{path} has {path.stat().st_size} bytes instead of {piece.size}")
        elif sha256(path) != piece.sha256:
            faulty.append(f"{path} is damaged: its SHA-256 is not that of {MANIFEST}")
    if faulty:
        raise Failure(
            f"The wheelhouse {folder} is not complete:\n  " + "\n  ".join(faulty) + "\nTransfer these files again."
        )
    return found


def join(folder: Path, manifest: Manifest, target: Path) -> list[Path]:
    """Return the wheels of a wheelhouse, after joining those that are cut.

    Args:
        folder: the wheelhouse.
        manifest: its manifest.
        target: folder for joined wheels.

    Raises:
        Failure: as for `check_pieces`.
    """
    found = check_pieces(folder, manifest)
    wheels = []
    for name, pieces in manifest.wheels.items():
        if len(pieces) == 1:
            wheels.append(found[name])
            continue
        joined = target / name
        with joined.open("wb") as output:
            for piece in pieces:
                with found[piece.file].open("rb") as source:
                    shutil.copyfileobj(source, output)
        wheels.append(joined)
    return wheels


def run_pip(python: Path, *arguments: str | Path) -> None:
    """Run pip.

    Args:
        python: interpreter of an environment with pip.
        arguments: what follows `pip`.

    Raises:
        Failure: pip failed; the text contains its errors.
    """
    environment = os.environ | {"DS_BUILD_OPS": "0", "DS_ACCELERATOR": "cpu"}
    result = subprocess.run([python, "-m", "pip", *arguments], env=environment, capture_output=True, text=True)
    if result.returncode != 0:
        lines = (result.stdout + result.stderr).splitlines(keepends=True)
        raise Failure(f"pip failed:\n{faults(lines)}\nCorrect this error and start the same command again.")


def download(image: str, folder: Path) -> list[Path]:
    """Download the wheels of the requirement files, build those that exist as source only, and return all.

    Args:
        image: name of a folder in envs/; empty for none.
        folder: empty folder for the wheels and for an environment with the locked pip.

    Raises:
        Failure: pip failed.
    """
    venv, wheels = folder / "venv", folder / "wheels"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    run_pip(python, "install", "--quiet", "--require-hashes", "-r", ENVS / "pip.txt")
    for lock in locks(image):
        print(f"wheelhouse: {lock.relative_to(ENVS.parent)}", flush=True)
        # The hash of torch differs between indexes, so torch.txt contains none.
        hashes = [] if lock.name == "torch.txt" else ["--require-hashes", "--build-constraint", lock]
        run_pip(python, "wheel", "--no-deps", "--wheel-dir", wheels, *hashes, "-r", lock)
    return sorted(wheels.iterdir(), key=lambda path: -path.stat().st_size)


def require_cuda_build(wheels: Iterable[Path]) -> None:
    """Reject the CPU build of torch, which some indexes serve.

    Raises:
        Failure: torch is among the wheels, and is a CPU build.
    """
    if any(wheel.name.startswith("torch-") and "+cpu" in wheel.name for wheel in wheels):
        raise Failure("pip found the CPU build of torch. Its index and PIP_FIND_LINKS must offer a CUDA build only.")


def collect(folder: Path, image: str, part_mib: int | None) -> Manifest:
    """Create a wheelhouse and return its manifest.

    Args:
        folder: the wheelhouse, which must not exist or be empty.
        image: name of a folder in envs/; empty for none.
        part_mib: largest size of a part in MiB; None for a folder without parts.

    Raises:
        Failure: the folder contains files, this Python has another version, torch is a CPU build, or pip failed.
    """
    python = python_version(image)
    if "{}.{}".format(*sys.version_info) != python:
        raise Failure(f"{sys.executable} is not Python {python}. Name a Python {python} with PYTHON=...")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Failure(f"{folder} contains files. Name an empty folder or delete them.")
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        wheels = download(image, Path(temporary))
        require_cuda_build(wheels)
        if image:
            trim_all(wheels, read_trims((ENVS / image / "trims.txt").read_text()))
        pieces = split(wheels, folder, part_mib and part_mib * MIB - MANIFEST_BYTES)
    manifest = Manifest(python, image, digest_of_locks(image), pieces)
    write_manifest(folder, manifest)
    return manifest


def main(arguments: list[str]) -> int:
    """Create a wheelhouse as the command line demands; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image", default="", help="name of a folder in envs/")
    parser.add_argument("--part-mib", type=int, help="largest size of a part in MiB")
    options = parser.parse_args(arguments)
    if options.image and not (ENVS / options.image / "lock.txt").is_file():
        known = ", ".join(path.parent.name for path in sorted(ENVS.glob("*/image.txt")))
        print(f"wheelhouse: no image is named {options.image}. Allowed: {known}.", file=sys.stderr)
        return 1
    try:
        manifest = collect(options.folder.absolute(), options.image, options.part_mib)
    except Failure as failure:
        print(f"wheelhouse: {failure}", file=sys.stderr)
        return 1
    size = sum(piece.size for pieces in manifest.wheels.values() for piece in pieces) / MIB
    print(f"wheelhouse: {options.folder} contains {len(manifest.wheels)} wheels, {size:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
