"""The map: computed from the page, then explored with mouse, wheel, fingers and keyboard."""

import math
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations

import make
import pytest
from marks import wide_only
from playwright.sync_api import Browser, Locator, Page, expect
from serving import Served
from touch import pinch, tap
from waiting import until

from retrieval.api_keys import load_keys
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

CHOOSE = "input[name=image]:not([capture])"
TIP = ".tip:not([hidden])"


def test_it_is_computed_and_explored(page: Page, url: str, served: Served) -> None:
    (key, *_) = load_keys(Settings(home=served.home))
    page.goto(f"{url}/login?key={key.secret}")
    page.goto(f"{url}/map")
    compute, canvas = page.get_by_role("button", name="Compute the map"), page.get_by_role("application")
    expect(compute.or_(canvas)).to_be_visible()
    if compute.is_visible():  # not computed by an earlier test
        compute.click()
    expect(canvas).to_be_visible(timeout=240_000)
    expect(page.locator(".legend li")).to_have_count(3)

    canvas.focus()
    reached = set()
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        reached.add(page.locator(TIP).get_attribute("href"))
    assert len(reached) > 1
    expect(page.locator("#status")).to_contain_text(re.compile("(red|green|blue). Enter opens"))
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
    expect(shown).to_have_attribute("src", f"/api/v1/images/{chosen.removeprefix('/photo/')}/thumbnail")
    expect(shown).to_have_js_property("naturalWidth", 120)
    page.mouse.wheel(0, -600)
    expect(page.locator(TIP)).to_have_count(0)
    page.mouse.move(x + 1, y)
    expect(page.locator(TIP)).to_have_attribute("href", chosen)
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(f"{url}{chosen}")
    expect(page.get_by_role("link", name="Search from this photo")).to_be_visible()


def test_a_legend_entry_makes_its_label_stand_out(page: Page, url: str) -> None:
    labels = [f"kind {number}" for number in range(15)]
    page.route("**/api/v1/map", lambda route: route.fulfill(json=many(labels)))
    page.goto(f"{url}/map")
    expect(page.locator(".about")).to_contain_text("20,000 of 50,000 photos")
    expect(page.locator(".legend li")).to_have_count(15)
    before = until(lambda: inked(page))
    button = page.locator(".legend button").first
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    until(lambda: 0 < inked(page) < before / 3)


@wide_only
def test_twenty_thousand_points_are_drawn_once_a_frame(page: Page, url: str) -> None:
    """However many wheel events there are between two frames, and in the frame after them."""
    page.route("**/api/v1/map", lambda route: route.fulfill(json=many(["red"])))
    page.goto(f"{url}/map")
    expect(page.get_by_role("application")).to_be_visible()
    expect(page.locator(".about")).to_contain_text("20,000 of 50,000 photos")
    until(lambda: inked(page) > 20_000)  # the canvas is there a frame before its points are
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


@contextmanager
def on_a_phone(browser: Browser, url: str, width: int, height: int) -> Iterator[Page]:
    """The map of nine photos on a touchscreen of that size in pixels."""
    with browser.new_context(has_touch=True, viewport={"width": width, "height": height}) as context:
        page = context.new_page()
        page.route("**/api/v1/map", lambda route: route.fulfill(json=many(["red"], count=9)))
        page.goto(f"{url}/map")
        expect(page.locator(".legend li")).to_have_count(1)
        yield page


def test_the_first_tap_shows_a_photo_and_the_second_opens_it(browser: Browser, url: str) -> None:
    with on_a_phone(browser, url, 390, 844) as page:
        x, y, side = free(page)
        pinch(page, x, y)
        wait_for_zoom(page, 2)
        place = (x - side * 2 / 6, y - side * 2 / 6)
        tap(page, *place)
        expect(page.locator(TIP)).to_have_attribute("href", f"/photo/{uuid.UUID(int=4)}")
        tap(page, x + side / 2, y - side / 2)
        expect(page.locator(TIP)).to_have_count(0)
        tap(page, *place)
        expect(page.locator(TIP)).to_be_visible()
        expect(page).to_have_url(f"{url}/map")
        tap(page, *place)
        expect(page).to_have_url(f"{url}/photo/{uuid.UUID(int=4)}")


def test_a_tap_does_not_click_the_preview_that_it_shows(browser: Browser, url: str) -> None:
    """On narrow screens, the preview once was at the place of the tap."""
    with on_a_phone(browser, url, 320, 640) as page:
        large = "left: -2000px; top: -2000px; width: 4000px; height: 4000px"
        page.locator(".tip").evaluate("(tip, style) => { tip.style.cssText = style; }", large)
        x, y, side = free(page)
        tap(page, x - side / 6, y - side / 6)
        expect(page.locator(TIP)).to_be_visible()
        expect(page).to_have_url(f"{url}/map")


def test_the_map_cannot_be_zoomed_or_moved_to_where_nothing_is(page: Page, url: str) -> None:
    show(page, url, many(["red"], count=9))
    x, y, side = free(page)
    page.mouse.move(x + side / 3, y + side / 3)  # 1/6 of the map from the nearest points
    for _ in range(12):
        page.mouse.wheel(0, -800)
    wait_for_zoom(page, 4)  # the most
    assert inked(page) > 50
    page.mouse.down()
    page.mouse.move(x - side, y - side, steps=3)
    page.mouse.up()
    page.evaluate("new Promise(requestAnimationFrame)")
    until(lambda: inked(page) > 50)


@pytest.mark.slow
@wide_only
def test_back_and_a_reload_show_the_same_part(page: Page, url: str) -> None:
    show(page, url, many(["red", "blue"], count=400))
    page.locator(".legend button").first.click()
    zoom_in(page, to=1.5)
    page.goto(f"{url}/jobs")
    page.go_back()
    expect(page.locator(".legend button").first).to_have_attribute("aria-pressed", "true")
    zoom_in(page, to=2.25)
    page.reload()
    expect(page.locator(".legend button").first).to_have_attribute("aria-pressed", "true")
    zoom_in(page, to=3.375)


@wide_only
def test_an_outdated_map_says_so_and_offers_to_compute_it(page: Page, url: str) -> None:
    show(page, url, many(["red"], count=9) | {"changed": 0})
    expect(page.get_by_text("changed since")).to_be_hidden()
    page.unroute_all()
    show(page, url, many(["red"], count=9) | {"changed": 1200})
    expect(page.get_by_text("1,200 photos have changed since the map was computed.")).to_be_visible()
    page.route("**/api/v1/jobs", lambda route: route.fulfill(status=409, json={"detail": "Another job is running."}))
    page.get_by_role("button", name="Compute it again").click()
    expect(page.get_by_text("Another job is running.")).to_be_visible()


@pytest.mark.slow
def test_the_query_of_a_search_is_marked(page: Page, url: str, photos: list[PhotoRef]) -> None:
    """An indexed photo at its own place, an uploaded one at the median of those of its nearest photos."""
    ids = [str(photo.id) for photo in photos]
    columns = {"id": ids, "x": [0.2] * 23 + [0.9], "y": [0.2] * 23 + [0.9], "label": [0] * 24}
    found = many(["red"], count=9) | {"points": columns}
    page.route("**/api/v1/map", lambda route: route.fulfill(json=found))
    page.goto(f"{url}/?id={ids[23]}")
    page.get_by_role("link", name="Show on the map").click()
    marker = page.get_by_role("link", name="Your search")
    expect(marker).to_have_attribute("href", f"/?id={ids[23]}")
    page.get_by_role("button", name="Show the whole map").click()
    x, y, side = free(page)
    until(lambda: place(marker) == pytest.approx((x + 0.4 * side, y + 0.4 * side), abs=2))
    page.goto(url)
    uploaded = make.encoded(make.photo("red", seed=99))
    page.set_input_files(CHOOSE, {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": uploaded})
    page.get_by_role("link", name="Show on the map").click()
    expect(marker.locator("img")).to_have_js_property("complete", True)
    page.get_by_role("button", name="Show the whole map").click()
    until(lambda: place(marker) == pytest.approx((x - 0.3 * side, y - 0.3 * side), abs=2))
    marker.click()
    expect(page.locator(".query .frame img")).to_be_visible()


def place(marker: Locator) -> tuple[float, float]:
    """Where the point of a marker is on the screen."""
    box = marker.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] - 9


def test_names_do_not_overlap_and_are_more_when_enlarged(page: Page, url: str) -> None:
    """Of a hundred clusters in a grid, in pixels: each name has its width and the place of its middle."""
    show(page, url, many(["red"], count=9))
    places = [(number % 10 / 10 + 0.05, number // 10 / 10 + 0.05) for number in range(100)]
    points = [(x + by / 1000, y, label) for label, (x, y) in enumerate(places) for by in (-1, 0, 1)]
    x, y, label = zip(*points, (0.5, 0.5, None), strict=True)
    found = {
        "labels": [f"label {number}" for number in range(100)],
        "points": {"id": x, "x": x, "y": y, "label": label},
    }
    small, large = page.evaluate(
        """async ([scripts, found]) => {
            const { Points } = await import(scripts + "map-points.js");
            const { clustersOf, writeNames } = await import(scripts + "map-names.js");
            const points = new Points(found);
            points.mark = points.label;
            const context = new OffscreenCanvas(400, 400).getContext("2d");
            const namesAt = (zoom) => {
                const names = [];
                context.fillText = (text, x, y) => names.push([context.measureText(text).width, x, y]);
                const options = { width: 1600, height: 1600, taken: [], isShown: () => true };
                writeNames(context, clustersOf(points), (x, y) => [x * zoom, y * zoom], options);
                return names;
            };
            return [namesAt(300), namesAt(600)];
        }""",
        [scripts(page), found],
    )
    assert 5 < len(small) < len(large) <= 60
    for names in (small, large):
        for (width, x, y), (other, left, top) in combinations(names, 2):
            assert abs(x - left) > (width + other) / 2 or abs(y - top) > 14


@wide_only
def test_marks_of_132_labels_differ_in_colour_or_shape(page: Page, url: str) -> None:
    show(page, url, many(["red"], count=9))
    for is_dark in (False, True):
        script = "async ([scripts, dark]) => (await import(scripts + 'map-marks.js')).marks(132, dark)"
        marks = page.evaluate(script, [scripts(page), is_dark])[:132]
        assert len({(mark["colour"], mark["shape"]) for mark in marks}) == 132
        alike = [
            pair for pair in combinations(marks, 2) if pair[0]["shape"] == pair[1]["shape"] and distance(*pair) < 0.03
        ]
        assert not alike
        assert all(distance(*pair) > 0.1 for pair in combinations(marks[:8], 2))


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


def show(page: Page, url: str, found: dict[str, object]) -> None:
    """Open the map with this answer of the API."""
    page.route("**/api/v1/map", lambda route: route.fulfill(json=found))
    page.goto(f"{url}/map")
    expect(page.locator(".legend li")).not_to_have_count(0)


def zoom_in(page: Page, to: float) -> None:
    """Zoom in by a step, and wait until the view is kept."""
    page.get_by_role("application").press("+")
    wait_for_zoom(page, to)


def wait_for_zoom(page: Page, to: float) -> None:
    """Wait until the page has kept a view of that zoom."""
    until(lambda: page.evaluate("(zoom) => Math.abs(history.state?.map?.camera.zoom - zoom) < 0.01", to))


def free(page: Page) -> tuple[float, float, float]:
    """The centre of the whole map on the screen, and its side: the canvas without the legend beside or below it."""
    box, legend = page.get_by_role("application").bounding_box(), page.locator(".panel").bounding_box()
    assert box is not None and legend is not None
    left, top, right, bottom = box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]
    if legend["width"] < box["width"] / 2:
        left = legend["x"] + legend["width"]
    else:
        bottom = legend["y"]
    return (left + right) / 2, (top + bottom) / 2, 0.94 * min(right - left, bottom - top)


def place_of(page: Page, url: str, link: str) -> tuple[float, float]:
    """Where on the screen a photo is, as long as the whole map is in sight."""
    found = page.request.get(f"{url}/api/v1/map").json()["points"]
    number = found["id"].index(link.removeprefix("/photo/"))
    x, y, side = free(page)
    return x + (found["x"][number] - 0.5) * side, y + (found["y"][number] - 0.5) * side


def scripts(page: Page) -> str:
    """The address of the folder of the page's scripts."""
    return str(page.locator("script[src*=map]").first.evaluate("script => script.src")).rpartition("/")[0] + "/"


def distance(one: dict[str, str], other: dict[str, str]) -> float:
    """How different two colours are, in OKLab; 0.02 is just noticeable."""
    places = []
    for mark in (one, other):
        lightness, chroma, hue = map(float, re.findall(r"[\d.]+", mark["colour"]))
        angle = math.radians(hue)
        places.append((lightness, chroma * math.cos(angle), chroma * math.sin(angle)))
    return math.dist(*places)


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
