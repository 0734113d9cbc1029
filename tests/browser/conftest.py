"""A real Chromium on a real server."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from serving import fill_index, serving

from retrieval.bundle import Bundle
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

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


Site = tuple[str, list[PhotoRef]]


@pytest.fixture(scope="session")
def site(bundle: Bundle, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The address of the page, and the photos indexed there."""
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LOOKALIKE_HOME", str(tmp_path_factory.mktemp("browser")))
            photos = fill_index(Settings(), bundle, library)
            url = running.enter_context(serving())
        yield url, photos


@pytest.fixture
def url(site: Site) -> str:
    return site[0]


@pytest.fixture
def photos(site: Site) -> list[PhotoRef]:
    return site[1]


@pytest.fixture(params=[(1440, "light"), (390, "dark")], ids=["wide", "narrow"])
def look(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How a browser shows a page: on a light desk and on a dark telephone, as options of its context."""
    width, scheme = request.param
    return {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}


@pytest.fixture
def page(browser: Browser, url: str, look: dict[str, Any]) -> Iterator[Page]:
    """The start page; a test fails where the page logs an error."""
    with browser.new_context(**look) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
        assert not errors
