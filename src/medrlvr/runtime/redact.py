"""Keep secrets and the home folder out of logs and saved commands, which users publish with results."""

import os
import re
import shlex
from functools import cache
from pathlib import Path

_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL|EMAIL|(?:^|_)KEY$", re.IGNORECASE)
"""Names of environment variables whose values are secret."""

_SHORTEST = 6
"""Characters below which a value is too common to be replaced."""


def redact(text: str) -> str:
    """Return a text with the home folder as "~", and the value of each secret environment variable as its name."""
    for value, name in _replacements():
        text = text.replace(value, name)
    return text


def quote_portably(word: str) -> str:
    """Return a word for a shell, as `shlex.quote` does, with the home folder as "$HOME"."""
    home = _home()
    if home is None or home not in word:
        return shlex.quote(word)
    return '"$HOME"'.join(part and shlex.quote(part) for part in re.split(rf"{re.escape(home)}(?![\w.-])", word))


@cache
def _replacements() -> tuple[tuple[str, str], ...]:
    secrets = {
        value: f"[{name}]" for name, value in os.environ.items() if _SECRET.search(name) and len(value) >= _SHORTEST
    }
    home = _home()
    # Longer values first, because one may contain another. The home folder is last.
    found = [(value, secrets[value]) for value in sorted(secrets, key=len, reverse=True)]
    return (*found, *(((f"{home}/", "~/"),) if home else ()))


def _home() -> str | None:
    home = str(Path(os.environ.get("HOME") or "/"))
    return home if home.startswith("/") and home != "/" else None
