"""Why did it match? The regions of the query and of a result that make them alike."""

import re

import pytest
from marks import wide_only
from playwright.sync_api import Page, expect

from retrieval.photo_ref import PhotoRef

CHOOSE = "input[name=image]:not([capture])"
SAID = re.compile(r"^Half of the similarity comes from \d+% of the query photo and \d+% of this photo\.")


def explain(page: Page, number: int) -> list[str]:
    """Ask of a result why it matched, with the keyboard; the heat over the query and over the result, as pictures."""
    page.locator(".neighbours .card").nth(number).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Photo details")
    dialog.get_by_role("button", name="Why did it match?").focus()
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("status")).to_have_text(SAID)
    heat = dialog.get_by_role("img", name=re.compile("^The largest contribution is (in|on|at) the "))
    expect(heat).to_have_count(2)
    return [str(canvas.evaluate("canvas => canvas.toDataURL()")) for canvas in heat.all()]


def alpha(page: Page, at: int, x: float, y: float) -> int:
    """How much of a photo the heat over it hides in a place, 0 to 255."""
    script = """(canvas, [x, y]) =>
        canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data[3]"""
    return int(page.locator(".pair canvas").nth(at).evaluate(script, [x, y]))


def test_the_heat_differs_between_results(page: Page, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)
    second = explain(page, 1)
    page.keyboard.press("Enter")
    expect(page.locator(".lightbox .pair")).to_have_count(0)
    expect(page.locator(".lightbox .large")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".neighbours .card").nth(1)).to_be_focused()  # closing returns the focus a moment later
    last = explain(page, 20)
    assert len({*second, *last}) == 4


@pytest.mark.slow
@wide_only
def test_an_upload_that_is_no_longer_held_is_explained_by_its_small_picture(page: Page, photos: list[PhotoRef]) -> None:
    page.set_input_files(CHOOSE, photos[2].path)
    expect(page.locator(".neighbours .card")).to_have_count(24)
    page.reload()
    expect(page.locator(".query .frame img[src^='data:']")).to_be_visible()
    assert len(set(explain(page, 3))) == 2


@wide_only
def test_only_the_searched_part_has_heat(page: Page, url: str, photos: list[PhotoRef]) -> None:
    page.goto(f"{url}/?id={photos[0].id}&crop=0.5,0,0.5,1")
    explain(page, 0)
    expect(page.locator(".reason")).to_contain_text("does not see the dark margins")
    unseen = alpha(page, 0, 0.2, 0.5)
    assert unseen == alpha(page, 0, 0.02, 0.02) == alpha(page, 1, 0.05, 0.5) > alpha(page, 0, 0.75, 0.5)


@wide_only
def test_what_goes_wrong_is_said_beside_the_button(page: Page, url: str, photos: list[PhotoRef]) -> None:
    page.goto(f"{url}/?id={photos[0].id}")
    page.route("**/explain", lambda route: route.abort())
    page.locator(".neighbours .card").nth(1).click()
    page.get_by_role("button", name="Why did it match?").click()
    expect(page.locator(".lightbox .reason")).to_contain_text("can't be reached")
    expect(page.locator(".lightbox .large")).to_be_visible()
