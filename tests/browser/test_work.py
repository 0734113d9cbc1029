"""The pages for administrators: jobs with live progress, models, and the key that both require."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect
from serving import fill_index, serving, worker
from waiting import until

from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle
from retrieval.index import open_store
from retrieval.photo_ref import photo_id, uri_of
from retrieval.settings import Settings

PATIENCE = 120_000  # milliseconds in which a job has to end; on a busy machine, its process starts late


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of six photos and a damaged one."""
    library = make.library(tmp_path / "library", per_label=2)
    (library / "red" / "broken.jpg").write_bytes(b"\xff\xd8 no photo")
    (library / "red" / "clip.mov").touch()
    return library


@contextmanager
def administered(
    browser: Browser,
    bundles: list[Bundle],
    library: Path,
    home: Path,
    signed_in: bool = True,
    shuffled: Bundle | None = None,
    **environment: str,
) -> Iterator[Page]:
    """A page on a server of its own, with settings of its own; the index of `shuffled` has the vectors mixed up."""
    photos = make.library(home / "photos", per_label=8)
    with pytest.MonkeyPatch.context() as patched:
        settings = {"HOME": str(home), "LIBRARY_ROOTS": str(library), **environment}
        for name, value in settings.items():
            patched.setenv(f"LOOKALIKE_{name}", value)
        for bundle in bundles:
            fill_index(Settings(), bundle, photos)
        if shuffled:
            shuffle(shuffled)
        with serving() as url, browser.new_context(base_url=url) as context:
            page = context.new_page()
            if signed_in:
                (key, *_) = load_keys(Settings())
                page.goto(f"/login?key={key.secret}")
            yield page


def shuffle(bundle: Bundle) -> None:
    with open_store(Settings()) as store, store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
        points = list(index.scroll())
        order = np.random.default_rng(0).permutation(len(points))
        index.upsert([replace(point, vector=points[other].vector) for point, other in zip(points, order, strict=True)])


def newest(page: Page):  # type: ignore[no-untyped-def]
    return page.locator(".list .item").first


def number_of(page: Page, name: str):  # type: ignore[no-untyped-def]
    return newest(page).locator(".numbers div", has=page.get_by_text(name, exact=True)).locator("dd")


def test_a_job_that_is_started_before_the_list_has_come_is_shown_once(page: Page, url: str) -> None:
    listing: list[Route] = []
    job = {
        "id": "1",
        "kind": "map",
        "state": "done",
        "model": "m",
        "started_at": "2026-01-01T00:00:00+00:00",
        "failed": 0,
    }
    sync = {"ended_at": "2026-01-01T00:00:00+00:00", "succeeded": True, "indexed": 0, "removed": 0, "failed": 0}

    def jobs(route: Route) -> None:
        if route.request.method == "POST":
            route.fulfill(json=job)
        else:
            listing.append(route)

    page.route("**/api/v1/jobs", jobs)
    page.goto(f"{url}/jobs")
    page.get_by_role("button", name="Compute the map").click()
    until(lambda: page.evaluate("new Promise(requestAnimationFrame)") and listing).pop().fulfill(
        json={"jobs": [], "last_sync": sync}
    )
    expect(page.get_by_text("Last scheduled sync")).to_be_visible()
    expect(page.locator(".item")).to_have_count(1)


@pytest.mark.slow
def test_a_job_is_started_followed_and_repeated(browser: Browser, bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    with administered(browser, [bundle], folder, tmp_path, signed_in=False, API_KEYS="open sesame") as page:
        page.goto("/jobs")
        expect(page.get_by_text("No job has run yet.")).to_be_visible()
        page.get_by_label("Folder or manifest").fill(str(folder))
        page.get_by_role("button", name="Index", exact=True).click()
        dialog = page.get_by_role("dialog", name="A key is required")
        dialog.get_by_label("Key").fill("wrong")
        dialog.get_by_role("button", name="Use key").click()
        expect(dialog.get_by_role("alert")).to_contain_text("The key is wrong")
        dialog.get_by_label("Key").fill("open sesame")
        dialog.get_by_label("Key").press("Enter")
        expect(newest(page).locator(".pill")).to_have_text("done, some failed", timeout=PATIENCE)
        expect(number_of(page, "indexed")).to_have_text("6")
        expect(number_of(page, "failed")).to_have_text("1")
        expect(number_of(page, "skipped")).to_have_text("1")
        expect(newest(page).locator(".remarks")).to_contain_text("1 skipped: .mov, a format that is not read")
        newest(page).get_by_text("Failed photos (1)").click()
        expect(newest(page).locator(".failures li")).to_contain_text("broken.jpg")

        (folder / "red" / "broken.jpg").write_bytes(make.encoded(make.photo()))
        newest(page).get_by_role("button", name="Retry failed photos").click()
        expect(page.locator(".item")).to_have_count(2)
        expect(newest(page).locator(".pill")).to_have_text("done", timeout=PATIENCE)
        expect(number_of(page, "indexed")).to_have_text("1")

        page.get_by_role("button", name="Compute the map").click()
        newest(page).get_by_role("button", name="Cancel").click()
        expect(newest(page).locator(".pill")).to_have_text("cancelled", timeout=PATIENCE)

        page.get_by_label("Folder or manifest").fill("/etc")
        page.get_by_role("button", name="Index", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("is not in the library")
        expect(page.locator(".item")).to_have_count(3)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A library that takes a while."""
    library = make.library(tmp_path / "many", per_label=1, labels=("red",))
    photo = (library / "red" / "0.jpg").read_bytes()
    for number in range(20_000):
        (library / "red" / f"copy-{number}.jpg").write_bytes(photo)
    return library


def search_from_the_first_photo(page: Page) -> None:
    page.get_by_role("link", name=re.compile("^Search from this photo")).first.click()


def start_indexing(page: Page) -> None:
    page.goto("/jobs")
    page.get_by_role("button", name="Index", exact=True).click()
    expect(newest(page).locator(".pill")).to_have_text("running")


@pytest.mark.slow
def test_a_second_browser_searches_follows_and_cancels_while_a_job_runs(
    browser: Browser, bundle: Bundle, many: Path, tmp_path: Path
) -> None:
    with administered(browser, [bundle], many, tmp_path) as page:
        start_indexing(page)
        with browser.new_context(base_url=page.url) as context:
            other = context.new_page()
            context.add_cookies(page.context.cookies())
            other.goto("/")
            search_from_the_first_photo(other)
            expect(other.locator(".neighbours .card").first).to_be_visible(timeout=PATIENCE)
            other.goto("/jobs")
            seen = number_of(other, "seen").text_content()
            expect(number_of(other, "seen")).not_to_have_text(str(seen))
            other.get_by_role("button", name="Index", exact=True).click()
            expect(other.get_by_role("alert")).to_contain_text("Another job is running")
            newest(other).get_by_role("button", name="Cancel").click()
            expect(newest(other).locator(".pill")).to_have_text("cancelled", timeout=PATIENCE)
        expect(newest(page).locator(".pill")).to_have_text("cancelled", timeout=PATIENCE)


@pytest.mark.slow
def test_a_job_that_its_server_did_not_survive_is_told(
    browser: Browser, bundle: Bundle, many: Path, tmp_path: Path
) -> None:
    with administered(browser, [bundle], many, tmp_path) as page:
        start_indexing(page)
        worker().kill()
        expect(newest(page).locator(".pill")).to_have_text("interrupted", timeout=PATIENCE)
        expect(newest(page).get_by_role("button", name="Cancel")).to_be_hidden()


@pytest.mark.slow
def test_another_model_is_made_current_and_back(browser: Browser, bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    untrained = {"recall_at_1": 0.25, "copy_recall_at_1": 0.75}
    metrics = {
        "test": {"recall_at_1": 0.875, "map_at_r": 0.5, "copy_recall_at_10": 1.0},
        "untrained": {"test": untrained},
    }
    other = make.bundle(tmp_path / "other", seed=1, metrics=metrics, precision="int8")
    with administered(browser, [other, bundle], folder, tmp_path) as page:
        page.goto("/models")
        expect(newest(page)).to_contain_text(bundle.model_id)
        expect(newest(page)).to_contain_text("16 dimensions · float32")
        expect(newest(page).locator(".pill")).to_have_text("Active")
        expect(number_of(page, "photos")).to_have_text("24")
        expect(newest(page).locator(".error")).to_be_hidden()
        page.get_by_role("button", name=re.compile("Activate|Roll back")).click()
        expect(newest(page)).to_contain_text(other.model_id, timeout=PATIENCE)
        expect(newest(page)).to_contain_text("16 dimensions · int8")
        expect(number_of(page, "recall@1")).to_have_text("0.875 (untrained 0.250)")
        expect(number_of(page, "MAP@R")).to_have_text("0.500")
        expect(number_of(page, "copy recall@1")).to_have_text("– (untrained 0.750)")
        expect(number_of(page, "copy recall@10")).to_have_text("1.000")
        page.get_by_role("button", name="Roll back to this model").click()
        expect(newest(page)).to_contain_text(bundle.model_id, timeout=PATIENCE)
        page.goto("/")
        search_from_the_first_photo(page)
        expect(page.locator(".neighbours .card")).to_have_count(23)


@pytest.mark.slow
def test_a_worse_model_can_be_activated_all_the_same(
    browser: Browser, bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    worse, other = make.bundle(tmp_path / "worse", seed=3), make.bundle(tmp_path / "other", seed=5)
    with administered(browser, [worse, other, bundle], folder, tmp_path, shuffled=worse) as page:
        page.goto("/models")
        expect(page.get_by_text("Recall@1 is the share of photos")).to_be_visible()
        expect(newest(page).locator(".measured")).to_contain_text("photos of tests, measured on 0 validation photos.")
        page.get_by_role("button", name="Activate", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("was not activated: its MAP@R", timeout=PATIENCE)
        page.get_by_role("button", name="Activate it anyway").click()
        expect(newest(page)).to_contain_text(worse.model_id, timeout=PATIENCE)


@pytest.mark.slow
def test_a_read_only_server_offers_no_change(browser: Browser, bundle: Bundle, folder: Path, tmp_path: Path) -> None:
    with administered(browser, [bundle], folder, tmp_path, READ_ONLY="true") as page:
        for place in ("/jobs", "/models", "/map"):
            page.goto(place, wait_until="networkidle")
            expect(page.get_by_role("heading", level=1)).to_have_count(1)
            expect(page.locator("main button:visible, main .start")).to_have_count(0)


@pytest.mark.slow
def test_the_options_of_the_command_line_are_in_the_form(
    browser: Browser, bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    with administered(browser, [bundle], folder, tmp_path) as page:
        refused = {"source": str(folder), "would_remove": 60, "of": 90, "reason": "It is empty now."}
        record(
            tmp_path, 1, sources=[str(folder)], seen=30, unchanged=10, moved=20, removal_refused=[refused], seconds=1
        )
        (folder / "red" / ".hidden.jpg").write_bytes(make.encoded(make.photo("red", 5)))
        page.goto("/jobs")
        expect(number_of(page, "moved")).to_have_text("20")
        expect(newest(page).locator(".remarks")).to_contain_text(
            "60 of its 90 photos seem to be gone. It is empty now."
        )
        page.get_by_text("More options", exact=True).click()
        page.get_by_label("Skip what matches").fill("broken.jpg\n\ngreen/\n")
        page.get_by_label("Index hidden files").check()
        page.get_by_label("Replace the labels").check()
        page.get_by_label("Photos that may be removed").fill("100%")
        with page.expect_request(lambda request: request.method == "POST") as sent:
            page.get_by_role("button", name="Index", exact=True).click()
        assert sent.value.post_data_json == {
            "sources": [str(folder)],
            "label_from": None,
            "sync": False,
            "include_hidden": True,
            "relabel": True,
            "exclude": ["broken.jpg", "green/"],
            "allow_removing": "100%",
        }
        expect(newest(page).locator(".pill")).to_have_text("done", timeout=PATIENCE)
        expect(newest(page).locator(".remarks")).to_contain_text("excluded by broken.jpg")
        photo = photo_id(uri_of(folder / "red" / "0.jpg"))
        assert (
            page.evaluate(f"fetch('/api/v1/images/{photo}', {{ method: 'DELETE' }}).then((sent) => sent.status)") == 204
        )
        page.reload()
        page.get_by_text("Removed photos (1)").click()
        page.get_by_role("button", name=re.compile("^Restore .*0.jpg$")).click()
        expect(page.get_by_text("Removed photos (1)")).to_be_hidden()


def record(home: Path, number: int, **fields: object) -> None:
    """Write the record of a job that has ended, or whose process was killed."""
    folder = home / "jobs" / f"20260101-00000{number}-abcdef"
    folder.mkdir(parents=True)
    job = {"id": folder.name, "model": "m", "started_at": "2026-01-01T00:00:00+00:00", "state": "done", **fields}
    (folder / "job.json").write_text(json.dumps(job))


@pytest.mark.slow
def test_the_state_of_a_job_is_honest_and_it_can_be_run_again(
    browser: Browser, bundle: Bundle, folder: Path, tmp_path: Path
) -> None:
    with administered(browser, [bundle], folder, tmp_path) as page:
        sources = {"sources": [str(folder)]}
        record(tmp_path, 1, **sources, seen=3, failed=3, seconds=1)
        record(tmp_path, 2, **sources, seen=7, unchanged=7, seconds=1)
        record(tmp_path, 3, **sources, seen=2, indexed=2, state="running", seconds=1)  # and its process is gone
        page.goto("/jobs")
        interrupted, unchanged, failed = (page.locator(".item").nth(place) for place in range(3))
        expect(failed.locator(".pill")).to_have_text("all photos failed")
        expect(unchanged.locator(".pill")).to_have_text("done")
        expect(unchanged.locator(".numbers")).not_to_contain_text("photos per second")
        expect(interrupted.locator(".pill")).to_have_text("interrupted")
        expect(page.locator(f"#folders option[value='{folder / 'red'}']")).to_have_count(1)
        interrupted.get_by_role("button", name="Run again").click()
        expect(page.locator(".item")).to_have_count(4)
        expect(newest(page).locator(".pill")).to_have_text("done, some failed", timeout=PATIENCE)
        expect(number_of(page, "indexed")).to_have_text("6")
