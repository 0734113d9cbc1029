"""A real Chromium on a real server."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from marks import slow
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from serving import Served

from retrieval.photo_ref import PhotoRef

Look = dict[str, Any]
Contexts = Callable[..., BrowserContext]
OpenTab = Callable[[BrowserContext, str], Page]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--renderer-process-limit=1",  # a process per tab takes a third of the time of a test
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


WIDE: Look = {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", "reduced_motion": "reduce"}
NARROW: Look = {"viewport": {"width": 390, "height": 900}, "color_scheme": "dark"}


@pytest.fixture(params=[WIDE, slow(NARROW)], ids=["wide", "narrow"])
def look(request: pytest.FixtureRequest) -> Look:
    """Options of a browser context: a wide screen in light mode without motion, and a phone in dark mode."""
    return dict(request.param)


@pytest.fixture(scope="session")
def contexts(browser: Browser) -> Contexts:
    """Return the browser context with the given options, one for the whole run: a new one takes longer than a test."""
    made: dict[str, BrowserContext] = {}

    def context_with(**options: Any) -> BrowserContext:
        if str(options) not in made:
            made[str(options)] = browser.new_context(**options)
        return made[str(options)]

    return context_with


@contextmanager
def opened(context: BrowserContext, url: str) -> Iterator[Page]:
    """Open a page in a new tab; raise if one of its scripts raises an error."""
    errors: list[str] = []
    with context.new_page() as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
        storage = {"origin": url, "storageTypes": "local_storage"}
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", storage)
    assert not errors


@pytest.fixture
def open_tab() -> Iterator[OpenTab]:
    """Open a page in a new tab of a context until the test ends."""
    with ExitStack() as tabs:
        yield lambda context, url: tabs.enter_context(opened(context, url))


@pytest.fixture
def page(contexts: Contexts, open_tab: OpenTab, url: str, look: Look) -> Page:
    """The start page; the test fails if a script of the page raises an error."""
    return open_tab(contexts(**look), url)
