"""A real Chromium on a real server."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from serving import Served

from retrieval.photo_ref import PhotoRef

Look = dict[str, Any]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=FLAGS)


@pytest.fixture
def url(served: Served) -> str:
    return served.url


@pytest.fixture
def photos(served: Served) -> list[PhotoRef]:
    return served.photos


WIDE: Look = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"}
NARROW: Look = {"viewport": {"width": 390, "height": 900}, "color_scheme": "dark"}


@pytest.fixture(params=[WIDE, pytest.param(NARROW, marks=pytest.mark.slow)], ids=["wide", "narrow"])
def look(request: pytest.FixtureRequest) -> Look:
    """Options of a browser context: a wide screen in light mode, and a phone in dark mode."""
    return dict(request.param)


@pytest.fixture
def page(browser: Browser, url: str, look: dict[str, Any]) -> Iterator[Page]:
    """The start page; the test fails if a script of the page raises an error."""
    with browser.new_context(**look) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
        assert not errors
