"""Downloads from the hub: tried again after what passes by itself, with progress, and with the token kept out of words.

`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and the other variables of huggingface_hub hold. That library resumes a
broken transfer and waits as a 429 says; what it gives up at once, a server's error in the middle of a download, is
tried again here. This module turns off what huggingface_hub and hf_xet send in addition to downloads.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from huggingface_hub import constants, get_token
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from tqdm import tqdm

from medrlvr.runtime.errors import UserError
from medrlvr.runtime.progress import duration
from medrlvr.runtime.step_log import Notify

ATTEMPTS = 4
PAUSE = 1.0
"""Seconds before the second attempt; each further pause is twice the last."""
RESTARTS = 5
"""How often a download may begin anew, because the server broke off and cannot go on from there."""
SILENCE = 5.0
"""Seconds between two lines of progress."""

# hf_xet and child processes read the variable. huggingface_hub reads it only when it is imported, which another module
# may have done before this one.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
constants.HF_HUB_DISABLE_TELEMETRY = True


def download(what: str, remedy: str, call: Callable[..., str], notify: Notify, **options: Any) -> Path:
    """Call one of huggingface_hub's download functions until it succeeds.

    Args:
        what: the thing wanted, for messages.
        remedy: what to do without network.
        call: `hf_hub_download` or `snapshot_download`.
        notify: prints one line for the person who waits.
        options: for `call`.

    Returns:
        The file or folder in the hub's cache.

    Raises:
        UserError: it is not there, not allowed, not reachable, or broke off each time; never with the token in it.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(call(**options, tqdm_class=_bar(what, notify)))
        # hf_xet, by which the hub hands out large files, raises plain RuntimeErrors.
        except (OSError, ValueError, httpx.HTTPError, RuntimeError) as error:
            if attempt < ATTEMPTS and _passes(error):
                pause = PAUSE * 2 ** (attempt - 1)
                notify(f"{what}: {_reason(error)}; attempt {attempt + 1} of {ATTEMPTS} in {duration(pause)}")
                time.sleep(pause)
                continue
            raise UserError(f"{what}: could not download it: {_reason(error)}\n{_hint(error)}{remedy}") from None
    raise AssertionError("the last attempt returns or raises")


def _passes(error: Exception) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, LocalEntryNotFoundError):
        return isinstance(error.__cause__, Exception) and _passes(error.__cause__)
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    if isinstance(error, httpx.TransportError) or type(error) is RuntimeError:
        return True
    # A body of the wrong size.
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


def _hint(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return "Is HF_TOKEN set, valid, and allowed to read that repository?\n"
    return ""


def _reason(error: Exception) -> str:
    """Return the first lines of an error and of its cause, without the token, should a server have sent it back."""
    causes = [error] + ([error.__cause__] if isinstance(error.__cause__, Exception) else [])
    text = "; ".join(" ".join(str(cause).split()) or type(cause).__name__ for cause in causes)
    token = get_token()
    return text.replace(token, "<HF_TOKEN>") if token else text


def _bar(what: str, notify: Notify) -> "type[tqdm[Any]]":
    """Return a progress bar that speaks in lines, some seconds apart, and only of bytes."""

    class Lines(tqdm):  # type: ignore[misc] # without type information
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)  # huggingface_hub's own bars have one
            super().__init__(*arguments, **{**options, "disable": False, "mininterval": 0.5})
            self.said = time.monotonic()
            self.restarts = 0

        def update(self, n: float | None = 1) -> bool | None:
            # With a server that breaks off each time and cannot go on, huggingface_hub would begin anew without end.
            self.restarts += n is not None and n < 0
            if self.restarts > RESTARTS:
                raise ConnectionError("it broke off again and again")
            return bool(super().update(n))

        def display(self, *_: Any, **__: Any) -> None:
            now = time.monotonic()
            if self.unit != "B" or not self.total or now - getattr(self, "said", now) < SILENCE:
                return
            self.said = now
            rate = self.format_dict["rate"]
            left = f", about {duration((self.total - self.n) / rate)} left" if rate else ""
            notify(f"{what}: {self.n / 1e6:,.1f} of {self.total / 1e6:,.1f} MB{left}")

        def clear(self, *_: Any, **__: Any) -> None:
            """There is nothing on the screen to wipe."""

    return Lines
