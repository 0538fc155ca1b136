"""Keep secrets and the home folder out of logs and saved commands, which users publish with results."""

import os
import re
import shlex
from functools import cache
from pathlib import Path

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|EMAIL|(?:^|_)KEY$", re.IGNORECASE)
"""Names of environment variables whose values are secret."""

_PASSWORD = re.compile(r"://[^\s/:@]*:[^\s/@]+@")
"""Name and password in a URL, such as that of a proxy."""

_SHORTEST = 6
"""Characters below which a value is too common to be replaced."""


def redact(text: str) -> str:
    """Return a text with the home folder as "~", and without the values of secret variables and passwords in URLs."""
    for value, name in _secrets():
        text = text.replace(value, name)
    text = _PASSWORD.sub("://[credentials]@", text)
    homes = _homes()
    return homes.sub("~", text) if homes else text


def quote_portably(word: str) -> str:
    """Return a word for a shell, as `shlex.quote` does, with the home folder as "$HOME"."""
    home = _home()
    if home is None or home not in word:
        return shlex.quote(word)
    return '"$HOME"'.join(part and shlex.quote(part) for part in re.split(rf"{re.escape(home)}(?![\w.-])", word))


@cache
def _secrets() -> tuple[tuple[str, str], ...]:
    secrets = {
        value: f"[{name}]" for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST
    }
    # Longer values first, because one may contain another.
    return tuple((value, secrets[value]) for value in sorted(secrets, key=len, reverse=True))


@cache
def _homes() -> re.Pattern[str] | None:
    home = _home()
    if home is None:
        return None
    # On a cluster, the home folder is often a symbolic link, and a resolved path begins with its target.
    found = sorted({home, os.path.realpath(home)}, key=len, reverse=True)
    return re.compile(rf"(?<![\w.-])(?:{'|'.join(map(re.escape, found))})(?![\w.-])")


def _home() -> str | None:
    home = str(Path(os.environ.get("HOME") or "/"))
    return home if home.startswith("/") and home != "/" else None
