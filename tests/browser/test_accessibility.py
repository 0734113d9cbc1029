"""axe-core objects to nothing in any state of any page; nothing shifts, and nothing is wider than the screen."""

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from widths import expect_to_fit

from retrieval.photo_ref import PhotoRef

Check = Callable[[Page], None]
Scheme = Literal["light", "dark"]

LONG = "a-name-without-spaces-that-is-as-long-as-those-of-some-cameras-and-folders-are-0001"
REFUSAL = {"status": 409, "detail": f"There is another search with the name {LONG}.", "remedy": "Choose another."}
SMALL_MAP = {
    "model": "any",
    "computed_at": "2026-01-01T00:00:00+00:00",
    "total": 2,
    "changed": 3,
    "labels": ["red", "green"],
}
JOB = {
    "kind": "index",
    "sources": [f"/photos/{LONG}"],
    "skipped_reasons": [{"reason": "format", "detail": ".mov", "count": 1, "example": f"{LONG}.mov"}],
    "removal_refused": [{"source": f"/photos/{LONG}", "would_remove": 60, "of": 90, "reason": "It is empty now."}],
    "model": "any",
    "retry_of": None,
    "error": "The disk is full.",
    "started_at": "2026-01-01T00:00:00+00:00",
    **dict.fromkeys(("seen", "indexed", "unchanged", "removed", "failed", "seconds", "images_per_second"), 1),
}
FAILURE = {"uri": f"file:///photos/{LONG}.jpg", "path": f"{LONG}.jpg", "reason": "It is damaged."}
REMOVED = {"id": "1", "uri": FAILURE["uri"], "path": FAILURE["path"], "label": "red", "removed_at": None}
MEASURED = {"model": "b", "photos": 24, "queries": 8, "recall_at_1": 0.875, "map_at_r": 0.75}
TRAINING = {
    **JOB,
    "id": "training",
    "kind": "train",
    "state": "done",
    "model": LONG,
    "training": {"recipe": "new-classes"},
    "comparison": {"after": MEASURED, "before": MEASURED, "held_out": True},
}


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


def test_the_start_page_and_its_panel(checked: Page, check: Check, url: str) -> None:
    saved = [{"name": name, "page_url": f"{url}/?text={name}"} for name in ("Red ones", LONG, "Blue ones")]
    checked.route("**/api/v1/searches", lambda route: route.fulfill(json={"searches": saved}))
    checked.route("**/api/v1/searches/*", lambda route: route.fulfill(status=409, json=REFUSAL))
    check(checked)
    checked.get_by_role("button", name="Saved and recent searches").click()
    panel = checked.get_by_role("dialog")
    panel.get_by_role("button", name="Rename Red ones").click()
    panel.get_by_label("New name").press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("another search")
    check(checked)


def test_results_refined_filtered_and_boxed(checked: Page, check: Check, url: str, photos: list[PhotoRef]) -> None:
    examples = f"like={photos[9].id}&unlike={photos[17].id}"
    checked.goto(f"{url}/?id={photos[0].id}&{examples}&label=red&label=blue&min_score=0.2&group_by=label&diverse=1")
    expect(checked.get_by_role("link", name=re.compile(r"^\d more")).first).to_be_visible()
    checked.get_by_text("Save this search").click()
    checked.get_by_label("Name of the search").fill("Red ones")
    checked.keyboard.press("Enter")  # without a key
    expect(checked.get_by_role("link", name="Sign in")).to_be_visible()
    check(checked)
    checked.get_by_role("button", name="Search a part").click()
    expect(checked.locator(".box[tabindex]")).to_be_visible()
    check(checked)
    checked.goto(f"{url}/?id={photos[0].id}&min_score=1")
    check(checked)


@pytest.mark.slow
def test_details_and_errors(checked: Page, check_all: Check, url: str, photos: list[PhotoRef]) -> None:
    checked.goto(f"{url}/photo/{photos[0].id}")
    check_all(checked)
    checked.goto(f"{url}/?id={photos[0].id}")
    checked.locator(".neighbours .card").first.click()
    expect(checked.get_by_role("dialog", name="Photo details").get_by_role("heading")).to_be_visible()
    check_all(checked)
    checked.get_by_role("button", name="Why did it match?").click()
    expect(checked.locator(".pair canvas")).to_have_count(2)
    check_all(checked)
    checked.goto(f"{url}/nothing")
    check_all(checked)


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
def test_photos_to_review(checked: Page, check_all: Check, url: str, photos: list[PhotoRef]) -> None:
    address = f"/api/v1/images/{photos[0].id}"
    photo = {"id": str(photos[0].id), "label": "red", "path": "0.jpg", "confirmed": False, "version": "1"}
    photo |= {"image_url": f"{address}/file", "thumbnail_url": f"{address}/thumbnail"}
    item = {"photo": photo, "suggested": "blue", "reason": "Most of the nearest are blue.", "duplicate_of": None}
    count = {"name": "mislabelled", "total": 1}
    checked.route("**/api/v1/queues", lambda route: route.fulfill(json={"changed": 3, "queues": [count]}))
    checked.route("**/api/v1/queues/*", lambda route: route.fulfill(json={"photos": [item], "total": 1}))
    checked.goto(f"{url}/review")
    expect(checked.locator(".near li")).to_have_count(8)
    check_all(checked)
    checked.keyboard.press("Enter")  # without a key
    expect(checked.get_by_role("dialog", name="A key is required")).to_be_visible()
    checked.get_by_role("button", name="Cancel").click()
    expect(checked.get_by_role("button", name="Discard")).to_be_visible()
    check_all(checked)


def test_jobs_in_each_state_and_the_question_for_a_key(checked: Page, check: Check, url: str) -> None:
    jobs = [JOB | {"id": state, "state": state} for state in ("running", "done", "failed", "cancelled")]
    checked.route("**/api/v1/jobs", lambda route: answer_jobs(route, [*jobs, TRAINING]))
    checked.route("**/images/removed*", lambda route: route.fulfill(json={"photos": [REMOVED], "total": 1}))
    checked.route("**/failures*", lambda route: route.fulfill(json={"failures": [FAILURE] * 30, "total": 149}))
    checked.goto(f"{url}/jobs")
    checked.get_by_text("Failed photos (1)").nth(1).click()
    expect(checked.get_by_text("and 119 more")).to_be_visible()
    checked.get_by_text("Removed photos (1)").click()
    checked.get_by_text("More options", exact=True).click()
    check(checked)
    checked.get_by_role("button", name="Compute the map").click()
    expect(checked.get_by_role("dialog", name="A key is required")).to_be_visible()
    check(checked)


def test_models_and_a_training(checked: Page, check: Check, url: str) -> None:
    checked.route("**/api/v1/jobs*", lambda route: answer_jobs(route, [TRAINING]))
    checked.goto(f"{url}/models")
    expect(checked.get_by_role("region", name="Training").get_by_role("button", name="Activate")).to_be_visible()
    expect(checked.locator(".list .item")).to_have_count(1)
    check(checked)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["map", "review", "photos", "jobs", "login", "api/docs"])
def test_the_other_pages(checked: Page, check_all: Check, url: str, place: str) -> None:
    checked.goto(f"{url}/{place}", wait_until="networkidle")
    check_all(checked)


def test_no_page_scrolls_sideways_on_the_narrowest_screen(checked: Page, url: str, photos: list[PhotoRef]) -> None:
    for place in ("", f"photo/{photos[0].id}", "photos", "map", "review", "login", "nothing", "api/docs"):
        checked.goto(f"{url}/{place}")
        expect_to_fit(checked)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1440, "light"), (320, "light")])
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
