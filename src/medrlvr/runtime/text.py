"""Read text files that people write, in UTF-8 with or without a byte order mark."""

import codecs
from pathlib import Path

from medrlvr.runtime.errors import UserError

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: str | Path) -> str:
    """Return a file's text, without its byte order mark and with `\\n` at the end of every line.

    Raises:
        UserError: the file is not UTF-8; the message contains the line and what to do.
    """
    content = Path(path).read_bytes()
    if content.startswith(_UTF_16):
        raise UserError(f"{path}: this file is UTF-16. Save it as UTF-8.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: this is not UTF-8: byte 0x{content[error.start]:02x}. Save the file as UTF-8."
        ) from None
    return text.replace("\r\n", "\n")
