"""A real Chromium on a real server."""

import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from marks import slow
from once import once
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from serving import Served
from widths import expect_to_fit

from retrieval.photo_ref import PhotoRef

Look = dict[str, Any]
Contexts = Callable[..., BrowserContext]
OpenTab = Callable[[BrowserContext, str], Page]
Check = Callable[[Page], None]
Scheme = Literal["light", "dark"]

AXE = "axe-core@4.14.1"
PATIENCE = 30_000  # milliseconds in which an assertion has to become true; on a busy machine, five seconds are too few
# Each width and each scheme once; the other pairs take as long again.
LOOKS: tuple[tuple[int, Scheme], ...] = ((1440, "light"), (390, "dark"))
OTHER_LOOKS: tuple[tuple[int, Scheme], ...] = ((1440, "dark"), (390, "light"))

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


def pytest_itemcollected(item: pytest.Item) -> None:
    """Retry a failed browser test twice, and report it: on a busy machine Chromium handles input late.

    A fault of the page fails all three runs.
    """
    item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=FLAGS)


@pytest.fixture
def url(served: Served) -> str:
    return served.url


@pytest.fixture
def photos(served: Served) -> list[PhotoRef]:
    return served.photos


SCREENS: dict[str, Look] = {
    "wide": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light", "reduced_motion": "reduce"},
    "narrow": {"viewport": {"width": 390, "height": 900}, "color_scheme": "dark"},
}


@pytest.fixture(params=["wide", slow("narrow")])
def look(request: pytest.FixtureRequest) -> Look:
    """Options of a browser context: a wide screen in light mode without motion, and a phone in dark mode.

    Tests with the mark `wide_only` run on the wide screen only.
    """
    return dict(SCREENS[request.param])


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
    """Open a page in a new tab, not signed in; raise if one of its scripts raises an error."""
    errors: list[str] = []
    with context.new_page() as page:
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        yield page
        storage = {"origin": url, "storageTypes": "local_storage"}
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", storage)
        context.clear_cookies()
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


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, from npm."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm to fetch axe-core with")

    def fetch(folder: Path) -> None:
        command = [npm, "pack", AXE, "--silent"]
        packed = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True, timeout=120)
        if packed.returncode:
            pytest.skip(f"axe-core can't be fetched: {packed.stderr.strip()[:200]}")
        with tarfile.open(folder / packed.stdout.strip()) as package:
            package.extract("package/axe.min.js", folder, filter="data")

    return (once(tmp_path_factory, "axe", fetch) / "package" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def with_axe(browser: Browser, axe: str) -> BrowserContext:
    """A browser context with axe-core in every document."""
    context = browser.new_context(reduced_motion="reduce", bypass_csp=True, viewport={"width": 1440, "height": 900})
    context.add_init_script(axe)
    return context


@pytest.fixture(params=[LOOKS, slow(OTHER_LOOKS)], ids=["two looks", "two more"])
def check(request: pytest.FixtureRequest) -> Check:
    """Asserts that a page has no violations, narrow and wide, light and dark, and fits the narrowest screen, too."""
    return checking(request.param)


@pytest.fixture
def check_all() -> Check:
    """As `check` in all four looks at once, for tests that are slow as a whole."""
    return checking(LOOKS + OTHER_LOOKS)


def checking(looks: tuple[tuple[int, Scheme], ...]) -> Check:
    """Return a function that asserts that a page fits the narrowest screen, and has no violations in these looks."""

    def check_page(page: Page) -> None:
        expect_to_fit(page, 320)
        for width, scheme in looks:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            expect_to_fit(page, width)
            found = page.evaluate(
                "async (options) => "
                "(await axe.run(options)).violations.map(({ id, nodes }) => [id, nodes.map((node) => node.html)])",
                {"resultTypes": ["violations"], "selectors": False},  # which takes two thirds of the time
            )
            assert found == [], (page.url, width, scheme)

    return check_page
