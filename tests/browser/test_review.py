"""The page Review: a queue of photos, dealt with by keyboard."""

import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make
import pytest
from marks import slow, wide_only
from playwright.sync_api import Browser, Page, Route, expect
from serving import fill_index, serving
from widths import expect_to_fit

from indexer.review.queues import Queued, save_queues
from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings

NAMES = ("mislabelled", "unlabelled", "informative", "duplicates")


class Queue:
    """The API with a queue of photos, and what the page sends."""

    def __init__(self, page: Page, photos: list[PhotoRef], name: str = "mislabelled") -> None:
        self.sent: list[tuple[str, str, Any, str | None]] = []
        self.refusals: list[tuple[int, dict[str, object]]] = []
        self._photos = [self._item(photo, photos[0].id if name == "duplicates" else None) for photo in photos]
        counts = [{"name": one, "total": len(photos) if one == name else 0} for one in NAMES]
        page.route("**/api/v1/queues", lambda route: route.fulfill(json={"changed": 0, "queues": counts}))
        page.route("**/api/v1/queues/*?*", self._list)
        page.route("**/api/v1/queues/duplicates/*/keep", self._change)
        page.route("**/api/v1/images/*", self._change)

    def _item(self, photo: PhotoRef, original: uuid.UUID | None) -> dict[str, object]:
        address = f"/api/v1/images/{photo.id}"
        shown = {"id": str(photo.id), "label": photo.label, "path": photo.path.name, "confirmed": False, "version": "1"}
        shown |= {"image_url": f"{address}/file", "thumbnail_url": f"{address}/thumbnail"}
        suggested = None if original else "blue"
        return {
            "photo": shown,
            "suggested": suggested,
            "duplicate_of": original and str(original),
            "reason": f"Why {photo.path.name}.",
        }

    def _list(self, route: Route) -> None:
        start = int(route.request.url.rpartition("offset=")[2])
        route.fulfill(json={"photos": self._photos[start:], "total": len(self._photos)})

    def _change(self, route: Route) -> None:
        request = route.request
        if request.method == "GET":
            return route.continue_()
        place = request.url.partition("/api/v1/")[2]
        self.sent.append((request.method, place, request.post_data_json, request.headers.get("if-match")))
        if self.refusals:
            status, problem = self.refusals.pop(0)
            return route.fulfill(status=status, json=problem)
        if request.method != "PATCH":
            return route.fulfill(status=204)
        item = next(one for one in self._photos if one["photo"]["id"] == place.rpartition("/")[2])
        return route.fulfill(json=item["photo"] | json.loads(request.post_data) | {"version": "2"})


@pytest.fixture
def red(photos: list[PhotoRef]) -> list[PhotoRef]:
    return [photo for photo in photos if photo.label == "red"]


@pytest.fixture
def queue(page: Page, url: str, red: list[PhotoRef]) -> Iterator[Queue]:
    """The page with three photos labelled red that look like blue ones."""
    made = Queue(page, red[:3])
    page.goto(f"{url}/review")
    expect(page.locator(".place")).to_have_text("1 of 3")
    yield made


def test_photos_are_corrected_by_keyboard(page: Page, queue: Queue, red: list[PhotoRef]) -> None:
    count = page.get_by_role("link", name="Likely mislabelled").locator(".count")
    expect(count).to_have_text("3")
    expect(page.locator(".reason")).to_have_text("Why 0.jpg.")
    expect(page.locator(".near li")).to_have_count(8)
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_text("2 of 3")
    page.keyboard.press("k")
    expect(page.locator(".place")).to_have_text("3 of 3")
    page.keyboard.press("l")
    page.keyboard.type("gr")
    expect(page.get_by_role("textbox", name="Other label")).to_have_value("green")
    page.keyboard.press("Enter")
    expect(page.locator(".done")).to_have_text("Nothing is left to review in this queue.")
    expect(count).to_have_text("0")
    page.keyboard.press("u")
    expect(page.locator(".place")).to_have_text("3 of 3")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".place")).to_have_text("2 of 3 · labelled red")
    expect(count).to_have_text("1")
    expect(page.locator(".saving")).to_have_text("")
    first, second, third = (f"images/{photo.id}" for photo in red[:3])
    assert queue.sent == [
        ("PATCH", first, {"label": "blue", "confirmed": True}, '"1"'),
        ("PATCH", second, {"label": "red", "confirmed": True}, '"1"'),
        ("PATCH", third, {"label": "green", "confirmed": True}, '"1"'),
        ("PATCH", third, {"label": "red", "confirmed": False}, '"2"'),
    ]


@pytest.mark.slow
@wide_only
def test_what_is_not_saved_is_kept_and_can_be_repeated(page: Page, queue: Queue, red: list[PhotoRef]) -> None:
    changed = {"status": 412, "detail": "The photo has been changed meanwhile: now its label is green."}
    queue.refusals = [(412, changed), (503, {"status": 503, "detail": "The index is unavailable."})]
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_text("3 of 3")
    failed = page.get_by_role("list", name="Corrections that are not saved").get_by_role("listitem")
    expect(failed).to_have_count(2)
    expect(failed.first).to_contain_text("now its label is green")
    failed.first.get_by_role("button", name="Save mine").click()
    expect(failed).to_have_count(1)
    failed.get_by_role("button", name="Try again").click()
    expect(failed).to_have_count(0)
    expect(page.locator(".saving")).to_have_text("")
    first, second = (f"images/{photo.id}" for photo in red[:2])
    blue = {"label": "blue", "confirmed": True}
    assert queue.sent[2:] == [("PATCH", first, blue, None), ("PATCH", second, blue, '"1"')]


@pytest.mark.slow
@wide_only
def test_duplicates_are_removed_or_kept(page: Page, url: str, red: list[PhotoRef]) -> None:
    queue = Queue(page, red[:3], "duplicates")
    page.goto(f"{url}/review?queue=duplicates")
    expect(page.locator(".near img")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator(".place")).to_have_text("2 of 3")
    page.keyboard.press("k")
    expect(page.locator(".place")).to_have_text("3 of 3")
    page.keyboard.press("u")
    expect(page.locator(".place")).to_have_text("2 of 3")
    expect(page.locator(".saving")).to_have_text("")
    keep = f"queues/duplicates/{red[1].id}/keep"
    assert [(method, place) for method, place, _, _ in queue.sent] == [
        ("DELETE", f"images/{red[0].id}"),
        ("POST", keep),
        ("DELETE", keep),
    ]


@pytest.mark.parametrize("width", [320, slow(390), slow(1440)])
@wide_only
def test_it_fits_the_screen(page: Page, url: str, red: list[PhotoRef], width: int) -> None:
    Queue(page, red[:3])
    page.goto(f"{url}/review")
    expect(page.locator(".near li")).to_have_count(8)
    expect_to_fit(page, width)


@pytest.mark.slow
def test_thirty_corrections_take_less_than_a_minute(
    browser: Browser, bundle: Bundle, settings: Settings, tmp_path: Path
) -> None:
    photos = fill_index(settings, bundle, make.library(tmp_path / "photos", per_label=32, labels=("red",)))
    queued = [Queued(photo.id, "red", "blue", 0.9, "red", 0.1, 0.9) for photo in photos]
    save_queues(settings, bundle.model_id, len(photos), {"mislabelled": queued})
    (key, *_) = load_keys(settings)
    with serving() as url, browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{url}/login?key={key.secret}")
        page.goto(f"{url}/review")
        expect(page.locator(".place")).to_have_text("1 of 32")
        start = time.monotonic()
        for number in range(30):
            if number % 3 == 2:
                page.keyboard.press("l")
                page.keyboard.type("green")
            page.keyboard.press("k" if number % 3 == 1 else "Enter")
            expect(page.locator(".place")).to_have_text(f"{number + 2} of 32")
        expect(page.locator(".saving")).to_have_text("", timeout=60_000)
        assert time.monotonic() - start < 60
        expect(page.locator(".failed li")).to_have_count(0)
        page.reload()
        expect(page.locator(".place")).to_have_text("1 of 2")
        labels = page.request.get(f"{url}/api/v1/labels").json()["labels"]
        assert {one["label"]: one["count"] for one in labels} == {"red": 12, "blue": 10, "green": 10}
        images = page.request.get(f"{url}/api/v1/images").json()["images"]
        assert sum(one["confirmed"] for one in images) == 30
