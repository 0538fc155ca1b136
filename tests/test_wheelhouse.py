"""A wheelhouse in parts is joined and installed without a network, and damage of any kind is reported by file."""

import base64
import csv
import ensurepip
import hashlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import install
import install_gpu
import pytest
import wheelhouse
from wheelhouse import Manifest, Piece

ENVS = Path(__file__).parents[1] / "envs"
IMAGES = [path.parent.name for path in sorted(ENVS.glob("*/image.txt"))]
PYTHON = "{}.{}".format(*sys.version_info)
FILES = {"tiny/__init__.py": b"value = 1\n", "tiny/_large.abi3.so": bytes(range(256)) * 40, "tiny/data.txt": b"x,y\n"}


def make_wheel(folder: Path, name: str = "tiny", files: dict[str, bytes] = FILES) -> Path:
    """Write a wheel of version 1.0 as pip requires it."""
    info = f"{name}-1.0.dist-info"
    content = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = [f"{path},{record_hash(data)},{len(data)}\n" for path, data in content.items()]
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))
    return wheel


def record_hash(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def collect(tmp_path: Path, part_bytes: int | None) -> tuple[Path, dict[str, bytes]]:
    """Return a wheelhouse of two wheels, and the content of each."""
    source, folder = tmp_path / "source", tmp_path / "wheelhouse"
    source.mkdir()
    folder.mkdir()
    wheels = [make_wheel(source), make_wheel(source, "other", {"other.py": b"\n"})]
    content = {wheel.name: wheel.read_bytes() for wheel in wheels}
    pieces = wheelhouse.split(wheels, folder, part_bytes)
    wheelhouse.write_manifest(folder, Manifest(PYTHON, "", wheelhouse.digest_of_locks(""), pieces))
    return folder, content


def joined(folder: Path, tmp_path: Path) -> dict[str, bytes]:
    target = tmp_path / "joined"
    target.mkdir()
    paths = wheelhouse.join(folder, wheelhouse.read_manifest(folder), target)
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("part_bytes", [None, 100, 333, 10**6])
def test_parts_are_joined_to_the_same_wheels(tmp_path: Path, part_bytes: int | None) -> None:
    folder, content = collect(tmp_path, part_bytes)
    assert joined(folder, tmp_path) == content
    parts = sorted(folder.glob("part-*"))
    if part_bytes is None:
        assert not parts
        return
    sizes = [sum(p.stat().st_size for p in part.iterdir() if p.name != wheelhouse.MANIFEST) for part in parts]
    assert sizes[:-1] == [part_bytes] * (len(parts) - 1), "every part but the last is full"
    assert 0 < sizes[-1] <= part_bytes
    assert all((part / wheelhouse.MANIFEST).is_file() for part in parts)


def test_the_parts_can_be_copied_into_one_folder(tmp_path: Path) -> None:
    folder, content = collect(tmp_path, 300)
    together = tmp_path / "together"
    for part in folder.glob("part-*"):
        shutil.copytree(part, together, dirs_exist_ok=True)
    assert joined(together, tmp_path) == content


def test_missing_short_and_damaged_files_are_named(tmp_path: Path) -> None:
    folder, _ = collect(tmp_path, 200)
    wheels = wheelhouse.read_manifest(folder).wheels
    missing, short, damaged = (folder / f"part-{number:02}" for number in (1, 2, 3))
    (name,) = (path.name for path in missing.glob("*.whl*"))
    shutil.rmtree(missing)
    (cut,) = short.glob("*.whl*")
    cut.write_bytes(cut.read_bytes()[:-1])
    (other,) = damaged.glob("*.whl*")
    other.write_bytes(bytes([other.read_bytes()[0] ^ 1]) + other.read_bytes()[1:])
    with pytest.raises(install.Failure) as failure:
        wheelhouse.check_pieces(folder, wheelhouse.read_manifest(folder))
    lines = str(failure.value).splitlines()
    assert len(wheels) == 2
    assert lines[1:-1] == [
        f"  {name} is missing",
        f"  {cut} has 199 bytes instead of 200",
        f"  {other} is damaged: its SHA-256 is not that of manifest.json",
    ]


def test_a_folder_without_manifest_and_mixed_parts_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(install.Failure, match="is not a wheelhouse"):
        wheelhouse.read_manifest(tmp_path)
    folder, _ = collect(tmp_path, 200)
    one = folder / "part-02" / wheelhouse.MANIFEST
    one.write_text(one.read_text().replace('"image": ""', '"image": "torch2.11"'))
    with pytest.raises(install.Failure, match="different wheelhouses"):
        wheelhouse.read_manifest(folder)


def test_a_trimmed_wheel_lacks_the_files_and_its_record_agrees(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    wheelhouse.trim(wheel, ["tiny/_large.*"])
    with zipfile.ZipFile(wheel) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    rows = {row[0]: row[1] for row in csv.reader(io.StringIO(content.pop("tiny-1.0.dist-info/RECORD").decode()))}
    assert rows.pop("tiny-1.0.dist-info/RECORD") == ""
    assert rows == {name: record_hash(data) for name, data in content.items()}
    assert {name for name in content if name.startswith("tiny/")} == {"tiny/__init__.py", "tiny/data.txt"}


def test_a_pattern_that_matches_nothing_is_an_error(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    before = wheel.read_bytes()
    with pytest.raises(install.Failure, match=r"contains no file tiny/_gone\.\*"):
        wheelhouse.trim(wheel, ["tiny/data.txt", "tiny/_gone.*"])
    assert wheel.read_bytes() == before


def test_the_cpu_build_of_torch_is_rejected() -> None:
    wheelhouse.require_cuda_build([Path("torch-2.13.0-cp311-cp311-linux_x86_64.whl"), Path("torchdata-0.11.0+cpu.whl")])
    with pytest.raises(install.Failure, match="CPU build of torch"):
        wheelhouse.require_cuda_build([Path("torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl")])


@pytest.fixture
def venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the environment that set-up creates, below a temporary folder."""
    folder = tmp_path / ".venv"
    for module in (install, install_gpu):
        monkeypatch.setattr(module, "VENV", folder)
        monkeypatch.setattr(module, "PYTHON", folder / "bin" / "python")
    monkeypatch.setattr(install, "LOG", folder / "install.log")
    monkeypatch.setattr(install, "STARTED", 0.0, raising=False)
    return folder


def test_a_wheelhouse_in_parts_is_installed_without_a_network(tmp_path: Path, venv: Path) -> None:
    """pip itself comes from the wheelhouse: the Python of an image may have no ensurepip."""
    source, folder = tmp_path / "source", tmp_path / "wheelhouse"
    source.mkdir()
    folder.mkdir()
    (bundled,) = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    wheels = [Path(shutil.copy(bundled, source)), make_wheel(source)]
    wheelhouse.trim(wheels[1], ["tiny/_large.*"])
    pieces = wheelhouse.split(wheels, folder, 10**6)
    wheelhouse.write_manifest(folder, Manifest(PYTHON, "", wheelhouse.digest_of_locks(""), pieces))
    assert install_gpu.install_from_wheelhouse(folder) == []
    command = [venv / "bin" / "python", "-I", "-c", "import pip, tiny; print(tiny.value)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"
    package = install.site_packages(venv) / "tiny"
    assert sorted(path.name for path in package.glob("*.*")) == ["__init__.py", "data.txt"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"python": "3.99"}, r"is not Python 3\.99"), ({"lock": "0" * 64}, "collected from other requirement files")],
)
def test_a_wheelhouse_for_something_else_is_rejected(tmp_path: Path, venv: Path, changed: dict, message: str) -> None:
    values = {"python": PYTHON, "image": "", "lock": wheelhouse.digest_of_locks(""), "wheels": {}} | changed
    wheelhouse.write_manifest(tmp_path, Manifest(**values))
    with pytest.raises(install.Failure, match=message):
        install_gpu.install_from_wheelhouse(tmp_path)
    assert not venv.exists()


def test_packages_of_the_image_are_visible_below_ours(tmp_path: Path, venv: Path) -> None:
    """The .pth files of the image count too: with one of them setuptools provides distutils."""
    image = tmp_path / "image"
    (image / "more").mkdir(parents=True)
    (image / "both.py").write_text("owner = 'image'\n")
    (image / "theirs.py").touch()
    (image / "more.pth").write_text("more\n")
    (image / "more" / "nested.py").touch()
    install_gpu.create_venv("--without-pip")
    ours = install.site_packages(venv)
    (ours / "both.py").write_text("owner = 'ours'\n")
    install_gpu.show_below([image], ours)
    command = [venv / "bin" / "python", "-I", "-c", "import both, theirs, nested; print(both.owner)"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "ours\n"


def test_an_image_needs_the_same_torch_and_every_package() -> None:
    wanted = {"torch": "2.11.0", "triton": "3.6.0", "numpy": "2.5.2", "scipy": "1.18.1"}
    same = wanted | {"torch": "2.11.0+cu130"}
    assert install_gpu.image_problems(wanted, same) == ([], [])
    faulty, different = install_gpu.image_problems(wanted, {"torch": "2.12.0", "triton": "3.6.0", "numpy": "2.6.0"})
    assert faulty == ["torch 2.12.0 instead of 2.11.0", "scipy is missing"]
    assert different == ["numpy 2.6.0 instead of 2.5.2"]


@pytest.mark.parametrize("image", IMAGES)
def test_the_lock_of_an_image_agrees_with_its_lists(image: str) -> None:
    folder = ENVS / image
    wanted = install.pins((folder / "requirements.in").read_text())
    locked = install.pins((folder / "lock.txt").read_text())
    theirs = install.pins((folder / "image.txt").read_text())
    lines = [line.partition("#")[0].strip() for line in (folder / "excludes.in").read_text().splitlines()]
    assert wanted.items() <= locked.items(), "run `make lock`"
    assert not locked.keys() & (theirs.keys() | set(filter(None, lines)))
    assert wheelhouse.read_trims((folder / "trims.txt").read_text()).keys() <= locked.keys()
    entries = [line for line in (folder / "lock.txt").read_text().splitlines() if "==" in line and line[0] != " "]
    assert len(entries) == len(locked)
    assert all(line.endswith("\\") for line in entries), "every version has a hash"


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_our_versions_of_what_the_project_imports(image: str) -> None:
    common = install.pins((ENVS / "common.in").read_text())
    wanted = install.pins((ENVS / image / "requirements.in").read_text())
    assert {name: version for name, version in wanted.items() if name in common}.items() <= common.items()
    assert {"openrlhf", "deepspeed", "ray", "transformers", "snakemake"} <= wanted.keys() & common.keys()


def test_pieces_of_a_manifest_are_read_back(tmp_path: Path) -> None:
    manifest = Manifest("3.12", "torch2.11", "0" * 64, {"a.whl": [Piece("a.whl.01", 3, "1" * 64)]})
    wheelhouse.write_manifest(tmp_path, manifest)
    assert wheelhouse.read_manifest(tmp_path) == manifest
