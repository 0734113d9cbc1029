"""The first visit to a server without a model and photos."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import make
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, expect
from serving import serving

from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle, install_bundle
from retrieval.settings import Settings

Check = Callable[[Page], None]

PATIENCE = 600_000  # milliseconds; making the first model takes half a minute of a free machine


@contextmanager
def first_page(context: BrowserContext, tmp_path: Path, bundle: Bundle | None = None) -> Iterator[Page]:
    """The first page of a server of its own, signed in; the page starts in a folder with the folder `photos`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("LOOKALIKE_HOME", str(tmp_path / "home"))
        patched.setenv("HOME", str(tmp_path))
        patched.delenv("LOOKALIKE_LIBRARY_ROOTS", raising=False)
        if bundle:
            install_bundle(bundle, Settings().models_folder)
        with serving() as url, context.new_page() as page:
            (key, *_) = load_keys(Settings())
            page.goto(f"{url}/login?key={key.secret}")
            yield page


def search_the_photos(page: Page) -> None:
    """Follow the job on the page of jobs, then search from the first photo."""
    expect(page.locator(".item .pill")).to_have_text("done", timeout=PATIENCE)
    page.get_by_role("link", name="Search the photos").click()
    page.get_by_role("link", name=re.compile("^Search from this photo")).first.click()
    expect(page.locator(".neighbours .card").first).to_be_visible(timeout=PATIENCE)


def drop(page: Page, *paths: Path) -> None:
    """Drop files and folders on the page, as from a file manager."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}

    def send(step: str) -> None:
        session.send("Input.dispatchDragEvent", {"type": step, "x": 200, "y": 200, "data": data})

    send("dragEnter")
    send("dragOver")
    expect(page.locator(".dropping.shown")).to_be_visible()  # the page accepts them
    send("dragOver")
    send("drop")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_folder_is_searched_with_clicks_only(browser: Browser, flowers: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for photo in sorted(flowers.rglob("*.jpg"))[::60]:
        shutil.copy(photo, tmp_path / "photos")
    with browser.new_context() as context, first_page(context, tmp_path) as page:
        page.get_by_role("link", name="photos", exact=True).click()
        expect(page.get_by_text("25 photos in this folder")).to_be_visible()
        page.get_by_role("button", name="Index this folder").click()
        search_the_photos(page)


@pytest.mark.slow
def test_a_dropped_folder_is_uploaded_and_searched(browser: Browser, bundle: Bundle, tmp_path: Path) -> None:
    folder = make.library(tmp_path / "photos", per_label=2)
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.jpg").write_bytes(b"no photo")
    (folder / "red" / "broken.jpg").write_bytes(b"no photo")
    with browser.new_context() as context, first_page(context, tmp_path, bundle) as page:
        drop(page, folder / "notes.txt")
        expect(page.get_by_role("alert")).to_have_text("There is no photo among this 1 file.", timeout=PATIENCE)
        drop(page, folder)
        expect(page.get_by_role("alert")).to_contain_text(
            "1 of 7 photos were not stored. broken.jpg: ", timeout=PATIENCE
        )
        page.get_by_role("link", name="Follow the job").click()
        search_the_photos(page)
        labels = page.request.get(f"{page.url.partition('/?')[0]}/api/v1/labels").json()["labels"]
        assert {one["label"] for one in labels} == {"blue", "green", "red"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_more_dropped_photos_than_a_browser_lists_at_once_are_uploaded(
    browser: Browser, bundle: Bundle, tmp_path: Path
) -> None:
    """Chromium lists a hundred entries of a folder at a time."""
    (tmp_path / "photos").mkdir()
    for number in range(250):
        photo = make.encoded(Image.new("RGB", (32, 32), (number, 0, 0)), "PNG")
        (tmp_path / "photos" / f"{number}.png").write_bytes(photo)
    with browser.new_context() as context, first_page(context, tmp_path, bundle) as page:
        drop(page, tmp_path / "photos")
        expect(page.get_by_text("of 250 photos")).to_be_visible(timeout=PATIENCE)
        expect(page).to_have_url(re.compile("/jobs$"), timeout=PATIENCE)
        search_the_photos(page)


@pytest.mark.slow
def test_the_first_page_is_accessible(with_axe: BrowserContext, check_all: Check, tmp_path: Path) -> None:
    with first_page(with_axe, tmp_path) as page:
        check_all(page)
        with_axe.clear_cookies()
        page.goto("/".join(page.url.split("/")[:3]))
        expect(page.locator("#main").get_by_label("Key")).to_be_visible()
        check_all(page)


@pytest.mark.slow
def test_the_first_page_needs_no_scripts(browser: Browser, bundle: Bundle, tmp_path: Path) -> None:
    make.library(tmp_path / "photos", per_label=2)
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle.folder)
    with browser.new_context(java_script_enabled=False) as context, first_page(context, tmp_path) as page:
        page.get_by_label("Model bundle").set_input_files(archive)
        page.get_by_role("button", name="Upload the model").click()
        expect(page.get_by_text("Upload the model")).to_have_count(0)
        page.get_by_role("link", name="photos", exact=True).click()
        page.get_by_role("button", name="Index this folder").click()
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
