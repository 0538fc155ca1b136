"""A real browser for the tests of the report's pages."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright
from programs import find_or_install

PATIENCE = 120_000
"""Milliseconds after which a test gives up; many, because other work may share the machine."""
expect.set_options(timeout=PATIENCE)


@contextmanager
def launched() -> Iterator[Browser]:
    """Start a headless Chromium."""
    path = find_or_install(("chromium", "chromium-browser", "google-chrome"), "chromium")
    with sync_playwright() as playwright:
        # Without a sandbox, which root cannot use; the report is our own file.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def visits(browser: Browser, report: Path) -> Iterator[Callable[..., Page]]:
    """Open a report at an address in it; afterwards, require that no error and no network request occurred."""
    faults: list[str] = []
    contexts = []

    def visit(place: str = "", **settings: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda asked: None if asked.url.startswith(("file:", "blob:")) else faults.append(asked.url))
        page.goto(report.as_uri() + place)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == []
