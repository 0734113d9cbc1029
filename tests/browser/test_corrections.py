"""Correcting the label of a photo on its page and over the results, by keyboard."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from serving import Served

from lookalike.client import Client
from retrieval.api_keys import load_keys
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

Opened = Callable[[str], Page]


@pytest.fixture
def red(photos: list[PhotoRef]) -> PhotoRef:
    return next(photo for photo in photos if photo.label == "red")


@pytest.fixture
def editor(served: Served, red: PhotoRef) -> Iterator[Client]:
    """A client that may write; after the test, the photo has its own label again."""
    (key, *_) = load_keys(Settings(home=served.home))
    with Client(served.url, key=key.secret) as client:
        yield client
        client.update(red.id, label="red", confirmed=False)


@pytest.fixture
def signed_in(browser: Browser, served: Served, editor: Client) -> Iterator[BrowserContext]:
    """A browser context with the cookie of a key."""
    (key, *_) = load_keys(Settings(home=served.home))
    with browser.new_context(base_url=served.url, bypass_csp=True, reduced_motion="reduce") as context:
        context.request.get(f"/login?key={key.secret}")
        yield context


def test_a_label_is_corrected_by_keyboard_and_a_conflict_is_shown(
    signed_in: BrowserContext, editor: Client, red: PhotoRef
) -> None:
    page = signed_in.new_page()
    page.goto(f"/photo/{red.id}")
    field, by = page.get_by_label("Label"), page.locator(".by")
    field.focus()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("crimson")
    page.keyboard.press("Enter")
    expect(by).to_have_text("Labelled by you; before: red.")
    expect(page.locator("h1")).to_have_text("crimson")
    expect(field).to_be_focused()
    editor.update(red.id, label="scarlet")
    field.fill("pink")
    page.keyboard.press("Enter")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("its label is now “scarlet”. Save again to replace it.")
    expect(field).to_have_value("pink")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("pink")
    expect(alert).to_have_count(0)
    for _ in range(2):  # past the button that saves
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("red")
    expect(by).to_have_count(0)
    assert editor.photo(red.id).confirmed is False


def test_a_label_is_corrected_over_the_results(signed_in: BrowserContext, red: PhotoRef) -> None:
    page = signed_in.new_page()
    page.goto(f"/?id={red.id}")
    page.locator(".card [data-details], a[data-details]").first.click()
    box = page.locator(".lightbox")
    place = box.locator(".place")
    expect(place).to_contain_text("1 of")
    label = box.get_by_label("Label")
    label.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    expect(place).to_contain_text("1 of")
    before = label.input_value()
    label.fill("crimson")
    page.keyboard.press("Enter")
    expect(box.locator("h1")).to_have_text("crimson")
    box.get_by_role("button", name="Undo").click()
    expect(box.locator("h1")).to_have_text(before)


def test_the_form_is_accessible_and_fits(
    signed_in: BrowserContext, editor: Client, red: PhotoRef, axe: str, check: Callable[[Page], None]
) -> None:
    signed_in.add_init_script(axe)
    page = signed_in.new_page()
    page.goto(f"/photo/{red.id}")
    page.get_by_label("Label").fill("a label that is as long as the names of some products are, and longer")
    page.keyboard.press("Enter")
    expect(page.locator(".by")).to_contain_text("Labelled by you")
    editor.update(red.id, label="a-label-without-spaces-that-is-as-long-as-those-of-some-products-are")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Somebody else has changed this photo")
    check(page)
