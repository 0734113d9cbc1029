"""What is done with the results: examples, labels, the least score, parts of a photo, details, earlier searches."""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import make
import pytest
from marks import wide_only
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from serving import fill_index, serving
from touch import drag, middle, tap_on
from waiting import until

from retrieval.bundle import Bundle
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

CHOOSE = "input[name=image]:not([capture])"
SHIFTS = """window.shifts = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => {
    if (!entry.hadRecentInput) window.shifts += entry.value;
})).observe({ type: "layout-shift" })"""


@pytest.fixture
def found(page: Page, photos: list[PhotoRef]) -> Page:
    """The results of a search from an indexed photo."""
    page.goto(f"{page.url.rstrip('/')}/?id={photos[0].id}")
    expect(cards(page)).to_have_count(23)
    return page


def cards(page: Page):  # type: ignore[no-untyped-def]
    return page.locator(".neighbours .card")


def search_from(page: Page, card: Locator) -> None:
    card.click()
    page.get_by_role("dialog").get_by_role("link", name="Search from this photo").click()
    expect(page).to_have_url(re.compile(r"/\?id="))


def id_of(page: Page, number: int) -> uuid.UUID:
    """The photo in the results at that place."""
    return uuid.UUID(str(cards(page).nth(number).get_attribute("href")).removeprefix("/photo/"))


def test_buttons_and_shift_click_mark_examples(found: Page) -> None:
    liked, unliked, second = (id_of(found, number) for number in (5, 9, 2))
    found.locator(f"button[name=like][value='{liked}']").focus()
    found.keyboard.press("Enter")
    expect(found.locator(".example.like")).to_have_count(1)
    found.locator(f".card[href$='{second}']").click(modifiers=["Shift"])
    expect(found.locator(".example.like")).to_have_count(2)
    found.locator(f".card[href$='{unliked}']").click(modifiers=["Alt"])
    expect(found.locator(".example.unlike")).to_have_count(1)
    expect(cards(found)).to_have_count(20)
    expect(found).to_have_url(re.compile(f"like={liked}&like={second}&unlike={unliked}"))
    expect(cards(found).first).to_be_focused()  # not the box that undoes it
    found.get_by_role("checkbox", name=re.compile("^Less like")).click()
    expect(found.locator(".example.unlike")).to_have_count(0)
    found.go_back()
    expect(found.locator(".example.unlike")).to_have_count(1)


def test_results_are_grouped_made_diverse_and_a_group_is_opened(found: Page) -> None:
    found.get_by_label("Group by").select_option("Label")
    expect(cards(found)).to_have_count(3)
    expect(found).to_have_url(re.compile(r"group_by=label$"))
    found.get_by_role("checkbox", name="Diverse results").focus()
    found.keyboard.press("Space")
    expect(found).to_have_url(re.compile(r"group_by=label&diverse=1$"))
    found.get_by_role("link", name=re.compile("^7 more")).first.click()
    expect(found).to_have_url(re.compile(r"\?id=[^&]*&label=[a-z]+$"))
    expect(cards(found)).to_have_count(8)
    found.go_back()
    expect(found.get_by_label("Group by")).to_have_value("label")
    expect(cards(found)).to_have_count(3)


@wide_only
def test_an_uploaded_photo_takes_examples(page: Page, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    expect(cards(page)).to_have_count(24)
    cards(page).nth(4).click(modifiers=["Shift"])
    expect(page.locator(".example.like")).to_have_count(1)
    expect(page.locator(".query .frame img[src^='data:']")).to_be_visible()
    expect(page).to_have_url(re.compile("vector=.*like="))


def test_the_least_score_is_dragged(found: Page) -> None:
    slider = found.get_by_role("slider")
    slider.fill("0.6")
    expect(found.locator("output")).to_have_text("0.60")
    expect(found.locator("#main")).to_have_attribute("data-address", re.compile("min_score=0.6$"))
    assert min(float(score.rpartition(" ")[2]) for score in found.locator(".score").all_text_contents()) >= 0.6
    entries = found.evaluate("history.length")
    slider.focus()
    slider.press("End")
    expect(found.get_by_role("heading", level=1)).to_have_text("Nothing found")
    expect(slider).to_be_focused()
    assert found.evaluate("history.length") == entries, "the steps of a slider are one history entry"
    found.go_back()
    expect(slider).to_have_value("0")
    expect(cards(found)).to_have_count(23)


@wide_only
def test_a_chip_keeps_the_focus(found: Page) -> None:
    green = found.get_by_role("checkbox", name="green")
    green.focus()
    found.keyboard.press("Space")
    expect(cards(found)).to_have_count(8)
    expect(green).to_be_focused()
    expect(green).to_be_checked()


def test_a_box_drawn_with_the_mouse_searches_that_part(found: Page) -> None:
    photo = found.locator(".query .frame").bounding_box()
    assert photo is not None
    before = [id_of(found, number) for number in range(8)]
    found.mouse.move(photo["x"] + 0.5 * photo["width"], photo["y"] + 0.5 * photo["height"])
    found.mouse.down()
    found.mouse.move(photo["x"] + 0.9 * photo["width"], photo["y"] + 0.9 * photo["height"], steps=3)
    found.mouse.up()
    expect(found).to_have_url(re.compile(r"crop=0\.5"))
    expect(found.locator(".box[data-crop]")).to_be_visible()
    assert [id_of(found, number) for number in range(8)] != before
    found.get_by_role("link", name="Whole photo").click()
    expect(found.locator(".box")).to_have_count(0)


@pytest.mark.slow
@wide_only
def test_a_box_drawn_with_the_keyboard_searches_that_part_of_an_upload(page: Page, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    draw = page.get_by_role("button", name="Search a part")
    draw.focus()
    page.keyboard.press("Enter")
    box = page.get_by_label(re.compile("^Part of the photo"))
    expect(box).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    expect(box).to_have_accessible_name(re.compile("22% from the left, 20% from the top, 60% wide, 62% high"))
    page.keyboard.press("Escape")
    expect(box).to_have_count(0)
    expect(draw).to_be_focused()
    page.keyboard.press("Enter")
    expect(box).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"crop=0\.2,0\.2,0\.6,0\.6"))
    expect(page.locator(".query .frame img[src^='data:']")).to_be_visible()
    page.reload()
    expect(page.locator(".query .frame img[src^='data:']")).to_be_visible()
    expect(page.locator(".box[data-crop]")).to_be_visible()
    page.get_by_role("button", name="Whole photo").click()
    expect(page.locator(".box")).to_have_count(0)


@pytest.mark.slow
def test_both_corners_are_dragged_by_touch_before_the_search(
    browser: Browser, url: str, photos: list[PhotoRef]
) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(f"{url}/?id={photos[0].id}")
        tap_on(page.get_by_role("button", name="Search a part"))
        for corner, by in [(0, -30), (3, 20)]:
            x, y = middle(page.locator(f".box [data-corner='{corner}']"))
            drag(page, [(x, y), (x + by / 2, y + by / 2), (x + by, y + by)])
        box = page.get_by_label(re.compile("^Part of the photo: (8|9|10|11|12|13)% from the left"))
        expect(box).to_be_visible()
        assert "crop=" not in page.url
        page.get_by_role("button", name="Search this part").click()
        expect(page).to_have_url(re.compile("crop=0"))
        expect(page.locator(".box i")).to_have_count(4)


def test_details_open_over_the_results(found: Page) -> None:
    third = id_of(found, 2)
    opener = cards(found).nth(2)
    opener.focus()
    found.keyboard.press("Enter")
    details = found.get_by_role("dialog", name="Photo details")
    expect(details).to_contain_text("Similarity")
    expect(details).to_contain_text("120 × 90 px")
    with found.expect_download() as download:
        details.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".jpg")
    found.keyboard.press("Escape")
    expect(details).to_be_hidden()
    expect(opener).to_be_focused()
    found.keyboard.press("Enter")
    details.get_by_role("button", name="More like this").click()
    expect(found.locator(".example.like")).to_have_count(1)
    expect(found).to_have_url(re.compile(f"like={third}"))


def test_back_closes_the_details_and_arrow_keys_show_the_next_photo(found: Page) -> None:
    before = found.url
    second, third = (id_of(found, number) for number in (1, 2))
    cards(found).nth(1).click()
    details = found.get_by_role("dialog", name="Photo details")
    large = details.locator("img.large")
    expect(large).to_have_attribute("src", re.compile(str(second)))
    assert details.locator(".actions > *").first.text_content() == "Search from this photo"
    found.keyboard.press("ArrowRight")
    expect(large).to_have_attribute("src", re.compile(str(third)))
    expect(details.locator(".place")).to_have_text("3 of 23")
    details.get_by_role("button", name="Previous photo").click()
    expect(large).to_have_attribute("src", re.compile(str(second)))
    found.go_back()
    expect(details).to_be_hidden()
    expect(cards(found).nth(1)).to_be_focused()
    expect(found).to_have_url(before)
    expect(found.locator(".query .frame img")).to_be_visible()
    found.go_forward()
    expect(details).to_be_visible()
    expect(large).to_have_attribute("src", re.compile(str(second)))
    found.reload()
    expect(large).to_have_attribute("src", re.compile(str(second)))
    details.get_by_role("button", name="Close").click()
    expect(details).to_be_hidden()
    until(lambda: found.evaluate("!history.state.details"))


@wide_only
def test_closed_details_can_be_opened_again_at_once(found: Page) -> None:
    """Closing goes back in the history, which takes a moment and must not close what was opened meanwhile."""
    opener = cards(found).nth(2)
    opener.click()
    details = found.get_by_role("dialog", name="Photo details")
    expect(details).to_be_visible()
    found.evaluate("""() => {
        document.querySelector(".lightbox .close").click();
        document.querySelectorAll(".neighbours .card")[2].click();
    }""")
    expect(details.locator(".place")).to_have_text("3 of 23")
    expect(details).to_be_visible()
    until(lambda: found.evaluate("history.state.details") == opener.get_attribute("href"))


@pytest.mark.slow
def test_a_swipe_shows_the_next_photo(browser: Browser, url: str, photos: list[PhotoRef]) -> None:
    with browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True) as context:
        page = context.new_page()
        page.goto(f"{url}/?id={photos[0].id}")
        ids = [id_of(page, number) for number in (0, 1)]
        tap_on(cards(page).first)
        large = page.locator(".lightbox img.large")
        expect(large).to_have_attribute("src", re.compile(str(ids[0])))
        expect(page.locator(".lightbox")).to_have_js_property("scrollTop", 0)
        drag(page, [(300, 300), (200, 300), (100, 300)])
        expect(large).to_have_attribute("src", re.compile(str(ids[1])))


@wide_only
def test_controls_show_the_search_of_the_results_after_back_and_after_a_failure(found: Page) -> None:
    green, blue = (found.get_by_role("checkbox", name=name) for name in ("green", "blue"))
    green.click()
    expect(cards(found)).to_have_count(8)
    found.go_back()
    expect(cards(found)).to_have_count(23)
    expect(green).not_to_be_checked()
    found.route("**/*label=*", lambda route: route.abort())
    blue.click()
    expect(found.get_by_role("alert")).to_contain_text("can't be reached")
    expect(blue).not_to_be_checked()
    expect(found.get_by_role("slider", name="Minimum similarity")).to_have_value("0")


@wide_only
def test_controls_and_links_have_names_of_their_own(found: Page) -> None:
    names = cards(found).locator("img").evaluate_all("images => images.map((image) => image.alt)")
    assert len(set(names)) == 23 and all(name.endswith(".jpg") for name in names)
    likes = found.locator("[name=like]").evaluate_all("buttons => buttons.map((button) => button.ariaLabel)")
    assert set(likes) == {f"More like this: {name}" for name in names}
    expect(found.get_by_role("slider", name="Minimum similarity")).to_be_visible()


def test_earlier_searches_are_remembered_here(found: Page, photos: list[PhotoRef]) -> None:
    found.set_input_files(CHOOSE, photos[9].path)
    expect(cards(found)).to_have_count(24)
    until(lambda: found.evaluate("JSON.parse(localStorage.getItem('lookalike:recent')).length") == 2)  # has the picture
    clock = found.get_by_role("button", name="Recent searches")
    clock.click()
    panel = found.get_by_role("dialog", name="Recent searches")
    expect(panel.get_by_role("link")).to_have_count(2)
    expect(panel.locator("img").first).to_have_attribute("src", re.compile("^data:image/jpeg"))
    panel.get_by_role("link").nth(1).click()
    expect(panel).to_be_hidden()
    expect(found).to_have_url(re.compile(rf"/\?id={photos[0].id}$"))
    clock.click()
    panel.get_by_role("button", name="Clear history").click()
    expect(panel).to_contain_text("appear here")


@pytest.fixture(scope="module")
def large(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A site with 60 photos, each with a label of its own, one of them from right to left."""
    library = make.library(tmp_path_factory.mktemp("large"), per_label=20)
    lines = [
        f'{{"path": "{photo}", "label": "{"زهرة" if number == 0 else f"kind {number:02}"}"}}'
        for number, photo in enumerate(sorted(library.rglob("*.jpg")))
    ]
    (library / "photos.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LOOKALIKE_HOME", str(tmp_path_factory.mktemp("large-home")))
            fill_index(Settings(), bundle, library / "photos.jsonl")
            url = running.enter_context(serving())
        yield url


@pytest.fixture
def large_page(
    contexts: Callable[..., BrowserContext],
    open_tab: Callable[[BrowserContext, str], Page],
    large: str,
    look: dict[str, Any],
) -> Page:
    """The start page of the site with 60 photos."""
    return open_tab(contexts(**look), large)


def scroll_until(page: Page, count: int, by: int = 9000) -> None:
    """Turn the wheel until there are at least that many results: a turn ends at the end of the page as it is then."""

    def look() -> bool:
        page.mouse.wheel(0, by)
        return cards(page).count() >= count

    until(look)


def test_more_come_on_scrolling_and_stay_on_the_way_back(large_page: Page, look: dict[str, Any]) -> None:
    page = large_page
    search_from(page, page.locator(".card").first)
    expect(cards(page)).to_have_count(24)
    page.mouse.move(look["viewport"]["width"] / 2, 500)
    for count in (48, 59):
        scroll_until(page, count)
    expect(page.locator("[data-more]")).to_have_count(0)
    scores = [float(text.rpartition(" ")[2]) for text in page.locator(".score").all_text_contents()]
    assert scores == sorted(scores, reverse=True)
    assert "offset" not in page.url
    search_from(page, cards(page).nth(50))
    expect(cards(page)).to_have_count(24)
    page.go_back()
    expect(cards(page)).to_have_count(59)
    expect(cards(page).nth(50)).to_be_in_viewport()
    page.reload()
    expect(cards(page)).to_have_count(59)
    expect(cards(page).nth(50)).to_be_in_viewport()


@pytest.mark.slow
@wide_only
def test_results_that_cannot_be_loaded_are_reported_below_the_others(large_page: Page) -> None:
    page = large_page
    page.evaluate(SHIFTS)
    page.route("**offset=24**", lambda route: route.abort())
    search_from(page, page.locator(".card").first)
    cards(page).nth(20).scroll_into_view_if_needed()
    expect(page.locator(".more").get_by_role("alert")).to_contain_text("No more photos could be loaded.")
    expect(page.locator("#main > .notice")).to_have_count(0)
    assert page.evaluate("scrollY") > 0
    page.unroute("**offset=24**")
    page.get_by_role("link", name="Show more").click()
    expect(cards(page).nth(47)).to_be_attached()
    scroll_until(page, 59, by=600)
    assert page.evaluate("shifts") < 0.05
    page.get_by_role("checkbox", name=re.compile("^kind")).first.dispatch_event("click")
    expect(cards(page)).to_have_count(1)
    expect(cards(page)).to_be_in_viewport()


@pytest.mark.slow
def test_one_of_many_labels_is_found(large_page: Page) -> None:
    page = large_page
    search_from(page, page.locator(".card:not(:has(img[alt^='زهرة']))").first)
    chips = page.get_by_role("group", name="Show only").locator(".chip")
    expect(chips).to_have_count(20)
    field = page.get_by_role("searchbox", name="Search labels")
    field.press_sequentially("kind 4")
    expect(chips).to_have_count(10)
    expect(field).to_be_focused()
    field.fill("زهر")
    expect(chips).to_have_count(1)
    assert chips.locator("bdi").evaluate("label => getComputedStyle(label).direction") == "rtl"
    chips.click()
    expect(cards(page)).to_have_count(1)
    expect(chips.first).to_contain_text("زهرة")
    page.get_by_role("link", name="Clear filter").click()
    expect(cards(page)).to_have_count(24)
