"""axe-core objects to nothing in any state of any page; nothing shifts, and nothing is wider than the screen."""

from collections.abc import Callable
from typing import Literal

import pytest
from marks import slow
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from retrieval.photo_ref import PhotoRef

Check = Callable[[Page], None]
Scheme = Literal["light", "dark"]

SMALL_MAP = {
    "model": "any",
    "computed_at": "2026-01-01T00:00:00+00:00",
    "total": 2,
    "changed": 3,
    "labels": ["red", "green"],
}
JOB = {
    "kind": "index",
    "sources": ["a folder"],
    "model": "any",
    "retry_of": None,
    "error": "The disk is full.",
    "started_at": "2026-01-01T00:00:00+00:00",
    **dict.fromkeys(("seen", "indexed", "unchanged", "removed", "failed", "seconds", "images_per_second"), 1),
}
FAILURE = {"uri": "file:///photos/broken.jpg", "path": "broken.jpg", "reason": "It is damaged."}


def answer_jobs(route: Route, jobs: list[dict[str, object]]) -> None:
    """The API with these jobs, and with keys."""
    if route.request.method == "POST":
        route.fulfill(status=401, json={"detail": "This request needs a key.", "remedy": "Send it."})
    else:
        route.fulfill(json={"jobs": jobs, "total": len(jobs)})


@pytest.fixture
def checked(with_axe: BrowserContext, open_tab: Callable[[BrowserContext, str], Page], url: str) -> Page:
    """The start page, with axe-core in every document."""
    return open_tab(with_axe, url)


def test_the_start_page_and_its_panel(checked: Page, check: Check) -> None:
    check(checked)
    checked.get_by_role("button", name="Recent searches").click()
    expect(checked.get_by_role("dialog")).to_be_visible()
    check(checked)


def test_results_refined_filtered_and_boxed(checked: Page, check: Check, url: str, photos: list[PhotoRef]) -> None:
    checked.goto(f"{url}/?id={photos[0].id}&like={photos[9].id}&unlike={photos[17].id}&label=red&min_score=0.2")
    check(checked)
    checked.get_by_role("button", name="Search a part").click()
    expect(checked.locator(".box[tabindex]")).to_be_visible()
    check(checked)
    checked.goto(f"{url}/?id={photos[0].id}&min_score=1")
    check(checked)


@pytest.mark.slow
def test_details_and_errors(checked: Page, check: Check, url: str, photos: list[PhotoRef]) -> None:
    checked.goto(f"{url}/photo/{photos[0].id}")
    check(checked)
    checked.goto(f"{url}/?id={photos[0].id}")
    checked.locator(".neighbours .card").first.click()
    expect(checked.get_by_role("dialog", name="Photo details").get_by_role("heading")).to_be_visible()
    check(checked)
    checked.get_by_role("button", name="Why did it match?").click()
    expect(checked.locator(".pair canvas")).to_have_count(2)
    check(checked)
    checked.goto(f"{url}/nothing")
    check(checked)


def test_the_map(checked: Page, check: Check, url: str, photos: list[PhotoRef]) -> None:
    ids = [str(photo.id) for photo in photos[:2]]
    points = {"id": ids, "x": [0.4, 0.6], "y": [0.5, 0.5], "label": [0, 1]}
    checked.route("**/api/v1/map", lambda route: route.fulfill(json=SMALL_MAP | {"points": points}))
    checked.goto(f"{url}/map?id={ids[0]}")
    expect(checked.get_by_role("link", name="Your search")).to_be_visible()
    expect(checked.get_by_role("button", name="Compute it again")).to_be_visible()
    checked.get_by_role("application").press("ArrowRight")
    expect(checked.locator(".tip")).to_be_visible()
    checked.locator(".legend button").first.click()
    check(checked)


@pytest.mark.slow
def test_photos_to_review(checked: Page, check: Check, url: str, photos: list[PhotoRef]) -> None:
    address = f"/api/v1/images/{photos[0].id}"
    photo = {"id": str(photos[0].id), "label": "red", "path": "0.jpg", "confirmed": False, "version": "1"}
    photo |= {"image_url": f"{address}/file", "thumbnail_url": f"{address}/thumbnail"}
    item = {"photo": photo, "suggested": "blue", "reason": "Most of the nearest are blue.", "duplicate_of": None}
    count = {"name": "mislabelled", "total": 1}
    checked.route("**/api/v1/queues", lambda route: route.fulfill(json={"changed": 3, "queues": [count]}))
    checked.route("**/api/v1/queues/*", lambda route: route.fulfill(json={"photos": [item], "total": 1}))
    checked.goto(f"{url}/review")
    expect(checked.locator(".near li")).to_have_count(8)
    check(checked)
    checked.keyboard.press("Enter")  # without a key
    expect(checked.get_by_role("dialog", name="A key is required")).to_be_visible()
    checked.get_by_role("button", name="Cancel").click()
    expect(checked.get_by_role("button", name="Discard")).to_be_visible()
    check(checked)


def test_jobs_in_each_state_and_the_question_for_a_key(checked: Page, check: Check, url: str) -> None:
    jobs = [JOB | {"id": state, "state": state} for state in ("running", "done", "failed", "cancelled")]
    checked.route("**/api/v1/jobs", lambda route: answer_jobs(route, jobs))
    checked.route("**/failures*", lambda route: route.fulfill(json={"failures": [FAILURE], "total": 120}))
    checked.goto(f"{url}/jobs")
    checked.get_by_text("Failed photos (1)").nth(1).click()
    expect(checked.get_by_text("and 119 more")).to_be_visible()
    check(checked)
    checked.get_by_role("button", name="Compute the map").click()
    expect(checked.get_by_role("dialog", name="A key is required")).to_be_visible()
    check(checked)


@pytest.mark.parametrize(
    "place", [slow("map"), slow("review"), slow("photos"), slow("jobs"), "models", slow("api/docs")]
)
def test_the_other_pages(checked: Page, check: Check, url: str, place: str) -> None:
    checked.goto(f"{url}/{place}", wait_until="networkidle")
    check(checked)


def test_no_page_scrolls_sideways_on_the_narrowest_screen(checked: Page, url: str, photos: list[PhotoRef]) -> None:
    checked.set_viewport_size({"width": 320, "height": 800})
    for place in (
        "/",
        f"/?id={photos[0].id}&like={photos[9].id}",
        f"/photo/{photos[0].id}",
        "/map",
        "/review",
        "/jobs",
        "/api/docs",
    ):
        checked.goto(url + place)
        assert checked.evaluate("document.documentElement.scrollWidth") == 320, place


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light"), (1440, "dark"), (320, "light")])
def test_nothing_shifts_and_everything_fits(
    browser: Browser, url: str, photos: list[PhotoRef], width: int, scheme: Scheme
) -> None:
    places = ["/", f"/?id={photos[0].id}&like={photos[9].id}", f"/photo/{photos[0].id}", "/map", "/jobs", "/models"]
    with browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme) as context:
        page = context.new_page()
        page.add_init_script(
            "window.shifts = 0; new PerformanceObserver((list) => list.getEntries().forEach((entry) => "
            "{ window.shifts += entry.value })).observe({ type: 'layout-shift', buffered: true })"
        )
        for place in [*places, "/api/docs"]:
            page.goto(url + place, wait_until="networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place
            assert page.evaluate("window.shifts") == 0, place
        ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (ground == "rgb(20, 20, 20)") == (scheme == "dark")
