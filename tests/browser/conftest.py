"""Headless Chromium through Playwright, for pages opened from disk. Tests skip, with the reason, where either lacks."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser_pages import watched_pages

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser; its requests to anything but files and data fail the test that makes them (`open_page`).

    It is closed with its module: Playwright keeps an event loop running in this thread, where no other could start.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
    with playwright.sync_playwright() as started:
        own = started.chromium.executable_path
        path = next(filter(None, map(shutil.which, NAMES)), own if Path(own).exists() else None)
        if path is None:
            pytest.skip("no Chromium on this machine: apt-get install chromium, or playwright install chromium")
        launched = started.chromium.launch(executable_path=path, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens a file: `open_page(path, dark=..., width=...)`. Errors of its script and requests elsewhere fail."""
    with watched_pages(browser, ("file:", "data:"), 15_000) as (new_page, problems):

        def opened(path: Path, **settings: Any) -> Any:
            page = new_page(**settings)
            page.goto(path.resolve().as_uri())
            return page

        yield opened
    # A picture that is not beside the page is asked for, not found, and stays the thumbnail.
    assert not [problem for problem in problems if "ERR_FILE_NOT_FOUND" not in problem]
