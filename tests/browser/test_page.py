"""The search page, used as people use it."""

import base64
import hashlib
import re
from pathlib import Path

import make
import numpy as np
import pytest
from marks import slow, wide_only
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect
from touch import tap_on
from waiting import until

from retrieval.photo_ref import PhotoRef

ASKED = ".query .frame img"
CHOOSE = "input[name=image]:not([capture])"


def address(photo: PhotoRef) -> str:
    return f"/photo/{photo.id}"


def search_from(page: Page, card: Locator) -> str:
    """Open a card, and search from its photo; returns the address of the search."""
    search = str(card.get_attribute("href")).replace("/photo/", "/?id=")
    card.click()
    page.get_by_role("dialog").get_by_role("link", name="Search from this photo").click()
    expect(page).to_have_url(re.compile(re.escape(search) + "$"))
    expect(page.locator("#main")).to_have_attribute("data-address", search)
    return search


def first_card(page: Page) -> str | None:
    return page.locator(".neighbours .card").first.get_attribute("href")


def give(page: Page, event: str, path: Path, kind: str = "image/jpeg", count: int = 1) -> None:
    """Drop or paste a file on the page, as the system would, or several with the same content."""
    script = """([event, data, kind, count]) => {
        const transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(data), (char) => char.charCodeAt(0));
        for (let at = 0; at < count; at++) transfer.items.add(new File([bytes], "photo", { type: kind }));
        const options = { bubbles: true, cancelable: true };
        document.body.dispatchEvent(event === "paste"
            ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
            : new DragEvent(event, { ...options, dataTransfer: transfer }));
    }"""
    page.evaluate(script, [event, base64.b64encode(path.read_bytes()).decode(), kind, count])


def test_a_chosen_photo_is_searched_at_once(page: Page, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)
    assert first_card(page) == address(photos[2])
    expect(page.locator(".own bdi")).to_have_text(str(photos[2].label))
    expect(page.get_by_role("link", name="This photo is in the collection")).to_be_visible()
    expect(page).to_have_url(re.compile("vector="))
    expect(page.locator(ASKED)).not_to_have_js_property("naturalWidth", 0)


@pytest.mark.parametrize("event", ["drop", slow("paste")])
@wide_only
def test_a_dropped_or_pasted_photo_is_searched(page: Page, photos: list[PhotoRef], event: str) -> None:
    if event == "drop":
        give(page, "dragover", photos[9].path)
        expect(page.locator(".dropping")).to_be_visible()
    give(page, event, photos[9].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)
    expect(page.locator(".dropping")).to_be_hidden()
    assert first_card(page) == address(photos[9])


@pytest.mark.slow
@wide_only
def test_of_two_dropped_photos_the_page_says_which_is_searched(page: Page, photos: list[PhotoRef]) -> None:
    give(page, "drop", photos[9].path, count=2)
    expect(page.locator(".neighbours .card")).to_have_count(24)
    expect(page.get_by_role("alert")).to_contain_text("the first of the 2 files")


def test_quiet_buttons_stay_visible_on_hover(page: Page) -> None:
    page.locator(".card").first.click()
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    button = page.get_by_role("link", name="Download")
    before, page_colour = (
        one.evaluate("one => getComputedStyle(one).backgroundColor") for one in (button, page.locator(".lightbox"))
    )
    button.hover()
    expect(button).to_have_css("filter", "none")
    for other in (before, page_colour):
        expect(button).not_to_have_css("background-color", other)


def test_clicks_lead_on_and_back_leads_back(page: Page, photos: list[PhotoRef]) -> None:
    asked = page.locator(ASKED)
    page.set_input_files(CHOOSE, photos[2].path)
    details = page.get_by_role("dialog", name="Photo details")
    second = search_from(page, page.locator(".neighbours .card").nth(3))
    expect(details).to_be_hidden()
    third = search_from(page, page.locator(".neighbours .card").first)
    expect(asked).to_have_attribute("src", picture(third))
    page.go_back()
    expect(asked).to_have_attribute("src", picture(second))
    expect(details).to_be_visible()
    page.go_back()
    expect(details).to_be_hidden()
    expect(asked).to_have_attribute("src", picture(second))
    page.go_back()
    expect(asked).to_have_attribute("src", re.compile("^data:image/jpeg"))
    assert first_card(page) == address(photos[2])
    expect(details).to_be_visible()
    page.go_back()
    expect(details).to_be_hidden()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Find the photos that look like yours")
    page.go_forward()
    expect(asked).to_have_attribute("src", re.compile("^data:image/jpeg"))


@pytest.mark.slow
@wide_only
def test_a_link_can_be_shared(page: Page, browser: Browser, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)
    with browser.new_context() as elsewhere:
        other = elsewhere.new_page()
        other.goto(page.url)
        assert first_card(other) == address(photos[2])
        expect(other.get_by_role("img", name="Query photo")).to_have_attribute("src", re.compile("^data:image/jpeg"))
        later = elsewhere.new_page()
        later.goto(re.sub("&kept=[0-9a-f]+", "", page.url))
        assert first_card(later) == address(photos[2])
        expect(later.locator(".blank")).to_be_visible()


@pytest.mark.slow
@wide_only
def test_a_shared_link_to_a_part_leads_to_the_whole_photo(page: Page, browser: Browser, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    page.get_by_role("button", name="Search a part").click()
    page.get_by_role("button", name="Search this part").click()
    expect(page).to_have_url(re.compile("crop="))
    expect(page.get_by_text(re.compile(r"^Links to this page show the photo for \d+ minutes\.$"))).to_be_visible()
    with browser.new_context() as elsewhere:
        other = elsewhere.new_page()
        other.goto(re.sub("&kept=[0-9a-f]+", "", page.url))
        expect(other.locator(".blank")).to_be_visible()
        expect(other.get_by_role("button", name="Whole photo")).to_be_hidden()
        other.goto(page.url)
        other.get_by_role("button", name="Whole photo").click()
        expect(other.locator(".box")).to_have_count(0)
        assert first_card(other) == address(photos[2])


@wide_only
def test_a_large_photo_is_shown_at_once_and_sent_smaller(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (1500, 2000, 3), np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    page.evaluate("""() => {
        const { send } = XMLHttpRequest.prototype;
        XMLHttpRequest.prototype.send = function (form) {
            window.sent = [form.get("image").size, form.get("sha256")];
            return send.call(this, form);
        };
    }""")
    page.route(page.url, lambda route: None if route.request.method == "POST" else route.fallback())
    page.set_input_files(CHOOSE, path)
    pending = page.get_by_role("group", name="Search in progress")
    expect(pending).to_contain_text(re.compile("Uploading|Searching"))
    expect(pending.locator("canvas")).to_be_visible()
    size, sha256 = until(lambda: page.evaluate("window.sent"))
    assert size < 0.5 * path.stat().st_size
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    pending.get_by_role("button", name="Cancel").click()
    expect(pending).to_be_hidden()
    expect(page.locator("main")).to_have_attribute("aria-busy", "false")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_label_filters(page: Page, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    chip = page.locator(".chip", has_text="green")
    expect(chip).to_contain_text("8")
    chip.click()
    expect(page.locator(".neighbours .card")).to_have_count(8)
    assert set(page.locator(".neighbours .label").all_text_contents()) == {"green"}
    expect(chip.get_by_role("checkbox")).to_be_checked()
    expect(page.locator(".query .frame img[src^='data:']")).to_be_visible()
    chip.click()
    expect(page.locator(".neighbours .card")).to_have_count(24)


def test_the_keyboard_reaches_everything(page: Page, photos: list[PhotoRef]) -> None:
    page.goto(f"{page.url.rstrip('/')}/?id={photos[0].id}")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.className"))
    assert {"brand", "image", "plain scripted", "label", "min_score", "card", "like", "unlike"} <= reached
    page.locator(".card").nth(1).focus()
    target = str(page.locator(".card").nth(1).get_attribute("href"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("link", name="Search from this photo")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(re.escape(target.replace("/photo/", "/?id=")) + "$"))
    expect(page.locator("main")).to_be_focused()
    expect(page.locator("#status")).to_contain_text("Most similar photos: 23, the best with similarity 0.")


def test_a_file_that_is_no_photo_is_explained_in_place(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "photo.jpg"
    text.write_text("<script>alert(1)</script>")
    page.set_input_files(CHOOSE, text)
    expect(page.get_by_role("alert")).to_contain_text("not a photo of a known format")
    expect(page.locator(CHOOSE)).to_have_value("")  # so that choosing the same file again is a change
    expect(page.locator(".card").first).to_be_visible()
    give(page, "drop", text, "text/plain")
    expect(page.get_by_role("alert")).to_contain_text("That is not a photo")


@pytest.mark.slow
@wide_only
def test_a_page_of_an_error_takes_a_photo_too(page: Page, photos: list[PhotoRef]) -> None:
    page.goto(f"{page.url.rstrip('/')}/nothing")
    expect(page.get_by_role("alert")).to_be_visible()
    give(page, "drop", photos[9].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)


@wide_only
def test_an_answer_from_elsewhere_is_explained_in_place(page: Page, photos: list[PhotoRef]) -> None:
    """A proxy, or the web server itself, knows nothing of the page."""
    page.route("**/?id=*", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    page.get_by_role("link", name="Search from this photo").first.dispatch_event("click")
    expect(page.get_by_role("alert")).to_contain_text("502")
    expect(page.locator("main")).not_to_have_attribute("aria-busy", "true")


@pytest.mark.slow
@wide_only
def test_a_full_session_storage_stops_no_search(page: Page, photos: list[PhotoRef]) -> None:
    page.evaluate("void (Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError') })")
    page.set_input_files(CHOOSE, photos[2].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)


@pytest.mark.slow
@wide_only
def test_a_tiny_photo_is_shown_in_squares(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "digit.png"
    make.photo("red", 5, (8, 8)).save(path)
    page.set_input_files(CHOOSE, path)
    asked = page.locator(ASKED)
    expect(asked).to_have_css("image-rendering", "pixelated")
    page.locator(".chip", has_text="green").click()
    expect(page.locator(".neighbours .card")).to_have_count(8)
    expect(asked).to_have_css("image-rendering", "pixelated")


@pytest.mark.slow
@wide_only
def test_a_photo_gone_from_disk_is_marked(page: Page, photos: list[PhotoRef]) -> None:
    page.route(f"**/{photos[1].id}/thumbnail", lambda route: route.fulfill(status=404))
    page.goto(f"{page.url.rstrip('/')}/?id={photos[0].id}")
    gone = page.locator(f"li:has(.card[href='{address(photos[1])}'])")
    gone.scroll_into_view_if_needed()
    expect(gone).to_have_class("gone")
    expect(gone.locator("img")).to_have_attribute("alt", "This photo can't be shown")


def test_it_works_without_scripts(browser: Browser, url: str, photos: list[PhotoRef]) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(url)
        page.set_viewport_size({"width": 320, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        page.set_input_files(CHOOSE, photos[2].path)
        page.get_by_role("button", name="Search").click()
        assert page.evaluate("document.documentElement.scrollWidth") == 320
        expect(page.get_by_role("button", name="Search a part")).to_be_hidden()
        assert first_card(page) == address(photos[2])
        page.locator(".chip", has_text="blue").click()
        page.get_by_role("button", name="Apply").click()
        expect(page.locator(".neighbours .card")).to_have_count(8)
        page.get_by_role("button", name="More like this").first.click()
        expect(page.locator(".example.like")).to_have_count(1)
        page.locator(".card").first.click()
        page.get_by_role("link", name="Search from this photo").click()
        expect(page.locator(ASKED)).to_be_visible()


def test_each_photo_keeps_its_shape(page: Page, photos: list[PhotoRef]) -> None:
    page.goto(f"{page.url.rstrip('/')}/?id={photos[0].id}")
    for number in range(8):
        image = page.locator(".neighbours .card img").nth(number)
        expect(image).not_to_have_js_property("naturalWidth", 0)
        shown, natural = image.evaluate(
            "one => [one.clientWidth / one.clientHeight, one.naturalWidth / one.naturalHeight]"
        )
        assert abs(shown / natural - 1) < 0.02


def picture(link: str) -> str:
    """The address of the thumbnail of a search's photo."""
    return f"/api/v1/images/{link.removeprefix('/?id=')}/thumbnail"


@pytest.mark.slow
def test_a_phone_takes_the_photo(browser: Browser, url: str, photos: list[PhotoRef]) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(url)
        expect(page.get_by_text("Take a photo")).to_be_visible()
        camera = page.locator("input[capture=environment]")
        camera.set_input_files(photos[2].path)
        expect(page.locator(".neighbours .card")).to_have_count(24)
        assert first_card(page) == address(photos[2])
        tap_on(page.locator(".neighbours .card").nth(1))
        details = page.get_by_role("dialog", name="Photo details")
        tap_on(details.get_by_role("button", name="Less like this"))
        expect(page.locator(".example.unlike")).to_have_count(1)
