"""The map: computed from the page, then explored with mouse, wheel and keyboard."""

import re
import uuid

from playwright.sync_api import Browser, Page, expect
from serving import Served

from retrieval.api_keys import load_keys
from retrieval.settings import Settings

TIP = ".tip:not([hidden])"


def test_it_is_computed_and_explored(page: Page, url: str, served: Served) -> None:
    (key, *_) = load_keys(Settings(home=served.home))
    page.goto(f"{url}/login?key={key.secret}")
    page.goto(f"{url}/map")
    compute, canvas = page.get_by_role("button", name="Compute the map"), page.get_by_role("application")
    expect(compute.or_(canvas)).to_be_visible()
    if compute.is_visible():  # not computed by an earlier test
        compute.click()
    expect(canvas).to_be_visible(timeout=60_000)
    expect(page.locator(".legend li")).to_have_count(3)

    canvas.focus()
    reached = set()
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        reached.add(page.locator(TIP).get_attribute("href"))
    assert len(reached) > 1
    expect(page.locator("#status")).to_contain_text(re.compile("(red|green|blue). Enter searches"))
    chosen = str(page.locator(TIP).get_attribute("href"))
    page.keyboard.press("+")
    expect(page.locator(TIP)).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(TIP)).to_have_count(0)
    page.keyboard.press("0")

    x, y = place_of(page, url, chosen)
    page.mouse.move(x, y)
    expect(page.locator(TIP)).to_have_attribute("href", chosen)
    shown = page.locator(TIP).locator("img")
    expect(shown).to_have_attribute("src", f"/api/v1/images/{chosen.removeprefix('/?id=')}/thumbnail")
    expect(shown).to_have_js_property("naturalWidth", 120)
    page.mouse.wheel(0, -600)
    expect(page.locator(TIP)).to_have_count(0)
    page.mouse.move(x + 1, y)
    expect(page.locator(TIP)).to_have_attribute("href", chosen)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(f"**{chosen}")
    expect(page.locator(".neighbours .card")).to_have_count(23)


def test_a_legend_entry_makes_its_label_stand_out(page: Page, url: str) -> None:
    labels = [f"kind {number}" for number in range(15)]
    page.route("**/api/v1/map", lambda route: route.fulfill(json=many(labels)))
    page.goto(f"{url}/map")
    expect(page.locator(".about")).to_contain_text("20,000 of 50,000 photos")
    expect(page.locator(".legend li")).to_have_count(13)
    expect(page.locator(".legend li").last).to_contain_text("3 other labels")
    before = inked(page)
    assert before > 0
    button = page.locator(".legend button").first
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.evaluate("new Promise(requestAnimationFrame)")
    assert 0 < inked(page) < before / 3


def test_twenty_thousand_points_are_drawn_once_a_frame(page: Page, url: str) -> None:
    """However many wheel events there are between two frames, and in the frame after them."""
    page.route("**/api/v1/map", lambda route: route.fulfill(json=many(["red"])))
    page.goto(f"{url}/map")
    expect(page.get_by_role("application")).to_be_visible()
    expect(page.locator(".about")).to_contain_text("20,000 of 50,000 photos")
    page.evaluate("new Promise(requestAnimationFrame)")  # the canvas is there a frame before its points are
    page.evaluate("new Promise(requestAnimationFrame)")
    assert inked(page) > 20_000
    drawn = page.evaluate(
        """async () => {
            const canvas = document.querySelector("canvas");
            const { clearRect } = CanvasRenderingContext2D.prototype;
            const frame = () => new Promise(requestAnimationFrame);
            const perFrame = [];
            let drawn = 0;
            CanvasRenderingContext2D.prototype.clearRect = function (...box) {
                drawn += 1;
                return clearRect.apply(this, box);
            };
            for (let turn = 0; turn < 10; turn++) {
                drawn = 0;
                for (let event = 0; event < 5; event++) {
                    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: turn < 5 ? -40 : 40, cancelable: true }));
                }
                const before = drawn;
                await frame();
                perFrame.push([before, drawn]);
            }
            return perFrame;
        }"""
    )
    assert drawn == [[0, 1]] * 10


def test_fingers_zoom_look_and_open(browser: Browser, url: str) -> None:
    with browser.new_context(has_touch=True, viewport={"width": 390, "height": 844}) as context:
        page = context.new_page()
        page.route("**/api/v1/map", lambda route: route.fulfill(json=many(["red"], count=9)))
        page.goto(f"{url}/map")
        box = page.get_by_role("application").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        fingers = context.new_cdp_session(page)
        for kind, apart in (("touchStart", 40), ("touchMove", 60), ("touchMove", 80), ("touchEnd", None)):
            points = [] if apart is None else [{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        zoomed = 2 * 0.94 * min(box["width"], box["height"])
        page.touchscreen.tap(x - zoomed / 6, y - zoomed / 6)
        expect(page.locator(TIP)).to_have_attribute("href", f"/?id={uuid.UUID(int=4)}")
        page.touchscreen.tap(x - zoomed / 6, y - zoomed / 6)
        page.wait_for_url(f"**/?id={uuid.UUID(int=4)}")


def many(labels: list[str], count: int = 20_000) -> dict[str, object]:
    """A map as the API gives it, its points on a grid."""
    side = int(count**0.5)
    return {
        "model": "any",
        "computed_at": "2026-01-01T00:00:00+00:00",
        "total": 50_000,
        "labels": labels,
        "points": {
            "id": [str(uuid.UUID(int=number)) for number in range(count)],
            "x": [(number % side) / side for number in range(count)],
            "y": [min(1, (number // side) / side) for number in range(count)],
            "label": [number % len(labels) for number in range(count)],
        },
    }


def place_of(page: Page, url: str, link: str) -> tuple[float, float]:
    """Where on the screen a photo lies, as long as the whole map is in sight."""
    found = page.request.get(f"{url}/api/v1/map").json()["points"]
    number = found["id"].index(link.removeprefix("/?id="))
    box = page.get_by_role("application").bounding_box()
    assert box is not None
    side = 0.94 * min(box["width"], box["height"])
    return (
        box["x"] + box["width"] / 2 + (found["x"][number] - 0.5) * side,
        box["y"] + box["height"] / 2 + (found["y"][number] - 0.5) * side,
    )


def inked(page: Page) -> int:
    """How many pixels of the canvas are opaque."""
    return page.evaluate(
        """() => {
            const canvas = document.querySelector("canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let count = 0;
            for (let at = 3; at < data.length; at += 4) count += data[at] > 200;
            return count;
        }"""
    )
