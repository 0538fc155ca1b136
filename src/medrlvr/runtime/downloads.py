"""Downloads from the Hugging Face Hub, with retries and progress; messages never contain the token.

`HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and the other variables of huggingface_hub apply. That library resumes an
interrupted transfer and waits as long as a 429 response requires. It does not retry after a server error during a
download; this module does. It also turns off the telemetry of huggingface_hub and hf_xet.
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
"""Seconds before the second attempt; each further pause is twice as long."""
RESTARTS = 5
"""Maximum number of restarts of a download whose server closes the connection and cannot resume."""
SILENCE = 5.0
"""Minimum seconds between two progress lines."""

# hf_xet and child processes read the variable. huggingface_hub reads it only at its import, and another module may have
# imported it before this one.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
constants.HF_HUB_DISABLE_TELEMETRY = True


def download(what: str, remedy: str, call: Callable[..., str], notify: Notify, **options: Any) -> Path:
    """Call one of huggingface_hub's download functions until it succeeds.

    Args:
        what: what is downloaded, for messages.
        remedy: what to do without a network, for messages.
        call: `hf_hub_download` or `snapshot_download`.
        notify: prints one line on the console.
        options: arguments of `call`.

    Returns:
        The file or folder in huggingface_hub's cache.

    Raises:
        UserError: it does not exist, access is denied, the server cannot be reached, or each attempt was interrupted.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Path(call(**options, tqdm_class=_bar(what, notify)))
        # hf_xet, which downloads large files from the Hub, raises plain RuntimeErrors.
        except (OSError, ValueError, httpx.HTTPError, RuntimeError) as error:
            if attempt < ATTEMPTS and _passes(error):
                pause = PAUSE * 2 ** (attempt - 1)
                notify(f"{what}: {_reason(error)}; attempt {attempt + 1} of {ATTEMPTS} in {duration(pause)}")
                time.sleep(pause)
                continue
            raise UserError(f"{what}: the download failed: {_reason(error)}\n{_hint(error)}{remedy}") from None
    raise AssertionError("the last attempt returns or raises")


def _passes(error: Exception) -> bool:
    """Return whether another attempt may succeed."""
    if isinstance(error, LocalEntryNotFoundError):
        return isinstance(error.__cause__, Exception) and _passes(error.__cause__)
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code >= 500
    # huggingface_hub has tried a refused connection for half a minute already: the address or a proxy is wrong.
    if isinstance(error, httpx.ConnectError) and "refused" in str(error):
        return False
    if isinstance(error, httpx.TransportError) or type(error) is RuntimeError:
        return True
    # The file has the wrong size.
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


def _hint(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return "Check that HF_TOKEN is set, valid, and allowed to read that repository.\n"
    return ""


def _reason(error: Exception) -> str:
    """Return the message of an error and of its cause, without the token, which a server may have sent back."""
    causes = [error] + ([error.__cause__] if isinstance(error.__cause__, Exception) else [])
    text = "; ".join(" ".join(str(cause).split()) or type(cause).__name__ for cause in causes)
    token = get_token()
    return text.replace(token, "<HF_TOKEN>") if token else text


def _bar(what: str, notify: Notify) -> "type[tqdm[Any]]":
    """Return a progress bar that prints lines, some seconds apart, and only for bytes."""

    class Lines(tqdm):  # type: ignore[misc] # tqdm has no type information
        def __init__(self, *arguments: Any, **options: Any) -> None:
            options.pop("name", None)  # huggingface_hub's bars have a name; tqdm does not
            super().__init__(*arguments, **{**options, "disable": False, "mininterval": 0.5})
            self.said = time.monotonic()
            self.restarts = 0

        def update(self, n: float | None = 1) -> bool | None:
            # If a server closes the connection each time and cannot resume, huggingface_hub would restart forever.
            self.restarts += n is not None and n < 0
            if self.restarts > RESTARTS:
                raise ConnectionError("the transfer was interrupted repeatedly")
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
            """Do nothing: lines are not erased."""

    return Lines
