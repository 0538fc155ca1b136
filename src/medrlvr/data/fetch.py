"""Fetch one file of the registry from a mirror folder or the Hugging Face Hub, and check its content."""

import hashlib
import shutil
import zipfile
import zlib
from pathlib import Path

from medrlvr.data.registry import Source
from medrlvr.runtime.atomic import write_atomically
from medrlvr.runtime.errors import UserError
from medrlvr.runtime.step_log import Notify


class WrongContentError(UserError):
    """A file exists but is not the registered one."""


def content_hash(path: Path, kind: str) -> str:
    """Return the hexadecimal hash of a file: kind "sha256", or "git" for its git blob id (SHA-1 with a header)."""
    header = b"blob %d\0" % path.stat().st_size
    start = {"sha256": hashlib.sha256, "git": lambda: hashlib.sha1(header)}[kind]
    with path.open("rb") as file:
        return hashlib.file_digest(file, start).hexdigest()


def fetch(source: Source, destination: str | Path, mirror: str | Path | None, notify: Notify = print) -> str | None:
    """Put the file of one registry row at `destination`.

    Args:
        source: a row whose file the pipeline does not generate.
        mirror: a folder used instead of the Hugging Face Hub, or None.
        notify: prints one progress line for the user.

    Returns:
        The Hub commit of the file; None if it comes from the mirror.

    Raises:
        UserError: the file is missing, its content is not the registered one, or no hash is registered, in which case
            the message contains it. `destination` is not changed.
    """
    destination = Path(destination)
    if mirror is not None:
        _place(_mirrored(source, Path(mirror).expanduser()), source, destination)
        return None
    if source.home == "local":
        raise UserError(
            f"{source.name} is not on the Hugging Face Hub. Put the file at <folder>/{source.mirror_file} "
            f"({source.hash or 'its hash is not known yet'}) and set data.mirror in the configuration, or the variable"
            " MEDRLVR_MIRROR, to that folder."
        )
    downloaded = _downloaded(source, notify)
    try:
        _place(downloaded, source, destination)
    except WrongContentError as error:
        # The Hub's cache may contain a damaged file and would return it every time.
        notify(f"{source.name}: {downloaded} is not the registered file; downloading it again")
        try:
            downloaded = _downloaded(source, notify, force_download=True)
        except UserError:
            raise error from None
        _place(downloaded, source, destination)
    # The path in the Hub's cache is <repository>/snapshots/<commit>/<file>.
    return downloaded.as_posix().removesuffix(f"/{source.file}").rpartition("/")[2]


def _mirrored(source: Source, mirror: Path) -> Path:
    path = mirror / str(source.mirror_file)
    if not path.is_file():
        unset = "" if source.home == "local" else f", or unset both to download {source.file} from {source.home}"
        raise UserError(
            f"{source.name}: the file {path} does not exist.\nThe mirror folder {mirror} must contain "
            f"{source.mirror_file}{f' with {source.hash}' if source.hash else ''}.\nSet data.mirror in the"
            f" configuration, or the variable MEDRLVR_MIRROR, to the folder that contains it{unset}."
        )
    return path


def _downloaded(source: Source, notify: Notify, force_download: bool = False) -> Path:
    # Imported here because a mirror does not need the Hub library.
    from huggingface_hub import hf_hub_download

    from medrlvr.runtime.downloads import download

    return download(
        f"{source.name}: {source.file} of {source.home} at {source.revision}",
        f"Without network, put the file at <folder>/{source.mirror_file} and set data.mirror in the configuration, "
        "or the variable MEDRLVR_MIRROR, to that folder.",
        hf_hub_download,
        notify,
        repo_id=source.home,
        filename=source.file,
        repo_type="dataset",
        revision=source.revision,
        force_download=force_download,
    )


def _place(path: Path, source: Source, destination: Path) -> None:
    kind, _, expected = (source.hash or "sha256:").partition(":")

    def copy(temporary: Path) -> None:
        if source.member and path.suffix == ".zip":
            _extract(path, source.member, temporary)
        else:
            shutil.copyfile(path, temporary)
        found = content_hash(temporary, kind)
        if not expected:
            raise UserError(
                f"{source.name}: config/datasets.tsv has no hash of this file yet, so nothing shows that {path} is the"
                f" file that was meant. It has {temporary.stat().st_size:,} bytes and sha256:{found}. Compare these"
                f" with another copy from {source.home}. Then enter the hash in the column hash of {source.name}, and"
                " the status unverified."
            )
        if found != expected:
            raise WrongContentError(
                f"{source.name}: {path} is not the registered file.\n"
                f"  expected {kind} {expected}\n  found    {kind} {found} ({temporary.stat().st_size:,} bytes)\n"
                "Replace this file with the registered one and start the same command again. If upstream changed the "
                "file on purpose, enter the new hash in config/datasets.tsv."
            )

    write_atomically(destination, copy)


def _extract(archive: Path, member: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as zipped, zipped.open(member) as inner, target.open("wb") as outer:
            shutil.copyfileobj(inner, outer)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise WrongContentError(
            f"{archive}: cannot extract {member}: {error}. Fetch the archive again and start the same command again."
        ) from None
