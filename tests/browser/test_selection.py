"""Selecting photos with the mouse, the keyboard and a finger, and what can be done with them."""

import csv
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from marks import wide_only
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from serving import fill_index, serving

from retrieval.bundle import Bundle
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings


@pytest.fixture
def listed(page: Page, url: str) -> Page:
    """The page of all photos; its check marks come with a script."""
    page.goto(f"{url}/photos?sort=name")
    expect(page.locator(".pick")).to_have_count(24)
    return page


@pytest.fixture
def writable(
    settings: Settings, bundle: Bundle, library: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Page]:
    """The page of all photos on a server that it may change, with its key."""
    fill_index(settings, bundle, library)
    monkeypatch.setenv("LOOKALIKE_API_KEYS", "sesame")
    with serving() as url, browser.new_context(reduced_motion="reduce") as context:
        page = context.new_page()
        page.goto(f"{url}/login?key=sesame")
        page.goto(f"{url}/photos?sort=name")
        expect(page.locator(".pick")).to_have_count(24)
        yield page


def cards(page: Page) -> Locator:
    return page.locator(".neighbours .card")


def marks(page: Page) -> Locator:
    return page.locator(".neighbours .pick")


def expect_selected(page: Page, *numbers: int) -> None:
    """Wait until exactly these photos are selected, by their places on the page."""
    expect(page.locator(".pick[aria-pressed=true]")).to_have_count(len(numbers))
    for number in numbers:
        expect(marks(page).nth(number)).to_have_attribute("aria-pressed", "true")
    if numbers:
        expect(page.locator(".selection .count")).to_have_text(f"{len(numbers)} selected")
    else:
        expect(page.locator(".selection")).not_to_be_visible()


def test_photos_are_selected_by_their_marks_and_by_keyboard(listed: Page) -> None:
    expect(marks(listed).first).to_have_attribute("aria-label", re.compile(r"^Select .*\d\.jpg$"))
    cards(listed).nth(1).focus()
    listed.keyboard.press("Space")
    expect_selected(listed, 1)
    listed.keyboard.press("Shift+ArrowRight")
    listed.keyboard.press("Shift+ArrowRight")
    listed.keyboard.press("Shift+ArrowLeft")
    expect_selected(listed, 1, 2)
    expect(cards(listed).nth(2)).to_be_focused()
    marks(listed).nth(5).click()
    marks(listed).nth(7).click(modifiers=["Shift"])
    expect_selected(listed, 1, 2, 5, 6, 7)
    listed.keyboard.press("Control+a")
    expect_selected(listed, *range(24))
    listed.keyboard.press("Escape")
    expect_selected(listed)


@pytest.mark.slow
@wide_only
def test_a_selection_survives_another_order_and_ends_with_the_query(listed: Page) -> None:
    marks(listed).first.click()
    address = cards(listed).first.get_attribute("href")
    cards(listed).nth(1).click()  # does not open the details now
    expect_selected(listed, 0, 1)
    listed.get_by_label("Order").select_option("-bytes")
    listed.get_by_role("button", name="Apply").click()
    expect(listed).to_have_url(re.compile("sort=-bytes"))
    expect(listed.locator(f"li.selected .card[href='{address}']")).to_be_attached()
    expect(listed.locator(".selection .count")).to_have_text("2 selected")
    listed.get_by_role("searchbox").fill("1")
    listed.get_by_role("button", name="Apply").click()
    expect(listed).to_have_url(re.compile("q=1"))
    expect(marks(listed).first).to_be_attached()
    expect_selected(listed)


@pytest.mark.slow
@wide_only
def test_a_lasso_selects_the_photos_in_it(listed: Page) -> None:
    listed.set_viewport_size({"width": 1440, "height": 900})
    first, third = (cards(listed).nth(number).bounding_box() for number in (0, 2))
    assert first is not None and third is not None
    listed.mouse.move(first["x"] - 8, first["y"] + 20)
    listed.mouse.down()
    listed.mouse.move(third["x"] + 30, third["y"] + 60, steps=4)
    expect(listed.locator(".lasso")).to_be_visible()
    expect_selected(listed, 0, 1, 2)
    listed.mouse.move(first["x"] + 30, first["y"] + 60, steps=2)
    expect_selected(listed, 0)
    listed.mouse.up()
    expect(listed.locator(".lasso")).to_have_count(0)
    expect_selected(listed, 0)


@pytest.mark.slow
def test_a_long_press_selects_on_a_touch_screen(browser: Browser, url: str) -> None:
    look = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    with browser.new_context(**look) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{url}/photos")
        expect(marks(page)).to_have_count(24)
        cards(page).first.scroll_into_view_if_needed()
        box = cards(page).first.bounding_box()
        assert box is not None
        touch = {"type": "touchStart", "touchPoints": [{"x": box["x"] + 60, "y": box["y"] + 60}]}
        devtools = context.new_cdp_session(page)
        devtools.send("Input.dispatchTouchEvent", touch)
        expect_selected(page, 0)
        devtools.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect_selected(page, 0)
        cards(page).nth(1).tap()
        expect_selected(page, 0, 1)
        expect(page.get_by_role("dialog", name="Photo details")).not_to_be_visible()


@pytest.mark.slow
@wide_only
def test_new_results_get_marks_and_keep_the_selection(page: Page, url: str, photos: list[PhotoRef]) -> None:
    page.goto(f"{url}/?id={photos[0].id}")
    expect(marks(page)).to_have_count(23)
    cards(page).first.click(modifiers=["Shift"])
    expect(page.locator(".example.like")).to_have_count(1)  # Shift-click still marks an example
    marks(page).first.click()
    expect_selected(page, 0)
    page.evaluate(
        "document.querySelector('.grid').append(document.querySelector('.grid > li:last-child').cloneNode(true))"
    )
    expect_selected(page, 0)
    cards(page).nth(2).click(modifiers=["Shift"])
    expect_selected(page, 0, 1, 2)


@pytest.mark.slow
@wide_only
def test_paths_tables_and_archives_leave_the_page(listed: Page, tmp_path: Path) -> None:
    listed.context.grant_permissions(["clipboard-read", "clipboard-write"])
    for number in (0, 1):
        marks(listed).nth(number).click()
    expect_selected(listed, 0, 1)
    outcome = listed.locator(".outcome")
    listed.get_by_role("button", name="Copy paths").click()
    expect(outcome).to_have_text("2 paths copied.")
    paths = listed.evaluate("navigator.clipboard.readText()").split("\n")
    assert [f"Select {path}" for path in paths] == [marks(listed).nth(at).get_attribute("aria-label") for at in (0, 1)]
    files = {}
    for name in ("Download a table as CSV", "Download a table as JSON", "Download the files as a ZIP archive"):
        with listed.expect_download() as waiting:
            listed.get_by_role("button", name=name).click()
        files[waiting.value.suggested_filename] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[waiting.value.suggested_filename])
        expect(outcome).to_have_text("Downloaded.")
    with files["photos.csv"].open(encoding="utf-8", newline="") as table:
        assert [row["path"] for row in csv.DictReader(table)] == paths
    assert [row["path"] for row in json.loads(files["photos.json"].read_text(encoding="utf-8"))] == paths
    with zipfile.ZipFile(files["photos.zip"]) as archive:
        assert len(archive.namelist()) == 2 and "MISSING.txt" not in archive.namelist()
    listed.context.clear_permissions()


@pytest.mark.slow
@wide_only
def test_a_refused_download_says_why(listed: Page) -> None:
    problem = {
        "status": 422,
        "type": "/api/docs#bad-query",
        "detail": "3 photos are selected.",
        "remedy": "Select fewer.",
    }
    listed.route("**/images/zip", lambda route: route.fulfill(status=422, json=problem))
    marks(listed).first.click()
    listed.get_by_role("button", name="Download the files as a ZIP archive").click()
    expect(listed.locator(".outcome")).to_have_text("3 photos are selected. Select fewer.")
    listed.unroute("**/images/zip")


@pytest.mark.slow
def test_removed_photos_are_restored_by_undo(writable: Page) -> None:
    addresses = [cards(writable).nth(number).get_attribute("href") for number in (0, 1)]
    marks(writable).first.click()
    marks(writable).nth(1).click()
    writable.get_by_role("button", name="Remove", exact=True).click()
    dialog = writable.get_by_role("dialog", name="Remove 2 photos from the index?")
    expect(dialog).to_contain_text("The files are kept")
    dialog.get_by_role("button", name="Remove").click()
    expect(writable.locator(".outcome")).to_have_text("2 photos removed from the index.")
    expect(cards(writable)).to_have_count(22)
    writable.get_by_role("button", name="Undo").click()
    expect(writable.locator(".outcome")).to_have_text("2 photos restored.")
    expect(cards(writable)).to_have_count(24)
    for address in addresses:
        expect(writable.locator(f".card[href='{address}']")).to_be_attached()


@pytest.mark.slow
def test_a_label_is_set_for_all_selected_photos(writable: Page) -> None:
    marks(writable).first.click()
    marks(writable).nth(1).click()
    writable.get_by_role("button", name="Set label").click()
    dialog = writable.get_by_role("dialog", name="Set the label of 2 photos")
    expect(dialog.locator("option[value=red]")).to_be_attached()
    dialog.get_by_label("Label").fill("scarlet")
    dialog.get_by_label("Label").press("Enter")
    expect(writable.locator(".outcome")).to_have_text("2 photos labelled scarlet.")
    writable.goto(writable.url.replace("sort=name", "label=scarlet"))
    expect(cards(writable)).to_have_count(2)


@pytest.mark.slow
def test_photos_that_can_not_be_removed_are_counted(writable: Page) -> None:
    gone = str(cards(writable).first.get_attribute("href")).rpartition("/")[2]
    address = re.compile(rf"/images/{gone}$")
    problem = {"status": 404, "detail": f"There is no indexed photo {gone}.", "remedy": "Reload the page."}
    writable.route(address, lambda route: route.fulfill(status=404, json=problem))
    marks(writable).first.click()
    marks(writable).nth(1).click()
    writable.get_by_role("button", name="Remove", exact=True).click()
    writable.get_by_role("dialog").get_by_role("button", name="Remove").click()
    expect(writable.locator(".outcome")).to_contain_text("1 photo removed from the index. 1 of 2 photos failed: There")
    expect_selected(writable, 0)


@pytest.mark.slow
def test_a_selection_has_no_violations(
    with_axe: BrowserContext,
    open_tab: Callable[[BrowserContext, str], Page],
    check_all: Callable[[Page], None],
    url: str,
    photos: list[PhotoRef],
) -> None:
    page = open_tab(with_axe, f"{url}/photos")
    for address in (f"{url}/photos", f"{url}/?id={photos[0].id}"):
        page.goto(address)
        marks(page).first.click()
        expect_selected(page, 0)
        check_all(page)
    page.get_by_role("button", name="Set label").click()
    labelling = page.get_by_role("dialog", name="Set the label of 1 photo")
    expect(labelling).to_be_visible()
    check_all(page)
    labelling.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_role("dialog", name=re.compile("^Remove"))).to_be_visible()
    check_all(page)
