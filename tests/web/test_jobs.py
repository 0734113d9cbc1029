"""`/api/v1/jobs`, and the map that one of them computes."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import make
import pytest
from flask.testing import FlaskClient
from serving import Site, with_key
from waiting import until

from indexer.background import BackgroundJobs
from indexer.batch import BatchResult, Failure
from indexer.jobs import IndexRequest, JobRecord
from indexer.scheduled_sync import LastSync
from retrieval.errors import JobRunning
from web.api import jobs
from web.app import create_app
from web.services import EXTENSION, MAX_STREAMS

JOBS = "/api/v1/jobs"


@dataclass(frozen=True)
class Place:
    """A library of its own, and the application that may index it."""

    own: Site
    folder: Path
    client: FlaskClient
    stopping: threading.Event

    def start(self, **fields: Any) -> dict[str, Any]:
        answer = self.client.post(JOBS, json=fields)
        assert answer.status_code == 202, answer.text
        assert answer.headers["Location"] == f"{JOBS}/{answer.get_json()['id']}"
        return dict(answer.get_json())

    def ended(self, job: str) -> dict[str, Any]:
        """The job, when it has ended."""

        def look() -> dict[str, Any] | None:
            found = dict(self.client.get(f"{JOBS}/{job}").get_json())
            return None if found["state"] == "running" else found

        return until(look, seconds=60)


@pytest.fixture
def place(own: Site) -> Iterator[Place]:
    folder = own.photos[0].path.parents[1]
    stopping = threading.Event()
    settings = own.settings.model_copy(update={"library_roots": (folder,)})
    app = create_app(settings, own.store, own.searcher, local=True, stopping=stopping)
    yield Place(own, folder, with_key(app.test_client()), stopping)
    app.extensions[EXTENSION].jobs.close()


@contextmanager
def running(own: Site, failures: int = 0) -> Iterator[JobRecord]:
    """A job that runs, by its record."""
    record = JobRecord(own.settings.jobs_folder, IndexRequest(["photos"]), own.searcher.index.model)
    failed = tuple(Failure(f"file:///photos/{number}.jpg", "It is damaged.") for number in range(failures))
    record.count(BatchResult(10 + failures, 10, failures=failed))
    try:
        yield record
    finally:
        if record.job.state == "running":
            record.end("done")


def test_a_job_indexes_new_photos_while_searches_go_on(place: Place) -> None:
    make.photo("blue", 50).save(place.folder / "blue" / "new.jpg")
    job = place.start(sources=[str(place.folder)])
    assert (job["kind"], job["model"]) == ("index", place.own.searcher.index.model)
    ended = place.ended(job["id"])
    assert (ended["state"], ended["seen"], ended["indexed"], ended["failed"]) == ("done", 25, 25, 0)
    found = place.client.post("/api/v1/search", json={"id": str(place.own.photos[0].id), "k": 100})
    assert len(found.get_json()["results"]) == 24


def test_a_source_may_be_named_below_the_librarys_folder(place: Place) -> None:
    job = place.ended(place.start(sources=["red"], label_from="none", sync=True)["id"])
    assert (job["seen"], job["sync"], job["label_from"]) == (8, True, "none")


@pytest.mark.parametrize(
    "source",
    ["/etc", "..", "../..", "red/../..", "link", "http://127.0.0.1/photos.zip", "s3://bucket", "", "a\x00b", "a" * 300],
)
def test_nothing_outside_the_library_is_indexed(place: Place, source: str) -> None:
    (place.folder / "link").symlink_to("/etc")
    answer = place.client.post(JOBS, json={"sources": [source]})
    assert answer.status_code == 422
    assert place.client.get(JOBS).get_json() == {"jobs": [], "total": 0, "last_sync": None}


def test_without_library_roots_nothing_is_indexed(own: Site) -> None:
    client = with_key(create_app(own.settings, own.store, own.searcher, local=False).test_client())
    answer = client.post(JOBS, json={"sources": ["/etc"]})
    assert answer.status_code == 422 and "LOOKALIKE_LIBRARY_ROOTS" in answer.get_json()["remedy"]


def test_no_manifest_makes_the_server_fetch_anything(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        manifest = place.folder / "photos.jsonl"
        manifest.write_text(json.dumps({"path": f"http://127.0.0.1:{port}/secret.jpg"}) + "\n")
        place.client.post(JOBS, json={"sources": ["photos.jsonl"]})
        for job in place.client.get(JOBS).get_json()["jobs"]:
            assert place.ended(job["id"])["indexed"] == 0
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({}, 422, "sources"),
        ({"sources": []}, 422, "sources"),
        ({"kind": "film"}, 422, "kind"),
        ({"kind": "map", "sources": ["red"]}, 422, "sources"),
        ({"sources": ["red"], "bundle": "/etc"}, 422, "bundle"),
        ({"sources": ["red"], "urls": True}, 422, "urls"),
        ({"sources": ["red"], "model": "../../etc"}, 404, "There is no model"),
        ({"sources": ["red"], "label_from": "sky"}, 422, "label_from"),
        ([], 422, "object"),
    ],
)
def test_a_wrong_job_is_explained(place: Place, body: Any, status: int, says: str) -> None:
    answer = place.client.post(JOBS, json=body)
    assert answer.status_code == status and says in answer.get_json()["detail"]


def test_without_installed_models_none_is_found(place: Place) -> None:
    place.own.settings.models_folder.rename(place.own.settings.home / "elsewhere")
    assert place.client.post(JOBS, json={"sources": ["red"], "model": "any"}).status_code == 404


def test_a_job_is_asked_for_in_json(place: Place) -> None:
    assert place.client.post(JOBS, data={"sources": "red"}).status_code == 415
    assert place.client.post(JOBS, data="{", content_type="application/json").status_code == 400


def test_jobs_are_listed_in_pages_the_newest_first(place: Place) -> None:
    jobs = [place.ended(place.start(sources=["red"])["id"])["id"] for _ in range(2)]
    listed = place.client.get(JOBS).get_json()
    assert sorted(job["id"] for job in listed["jobs"]) == sorted(jobs) and listed["total"] == 2
    second = place.client.get(f"{JOBS}?limit=1&offset=1").get_json()
    assert second["jobs"] == listed["jobs"][1:] and second["total"] == 2


def test_what_failed_is_listed_in_pages_and_taken_up_again(place: Place) -> None:
    whole = (place.folder / "red" / "0.jpg").read_bytes()
    for name in "abc":
        (place.folder / "red" / f"<b>{name}.jpg").write_bytes(whole[:300])
    job = place.ended(place.start(sources=["red"])["id"])
    assert job["failed"] == 3
    page = place.client.get(f"{JOBS}/{job['id']}/failures?limit=2&offset=1").get_json()
    assert page["total"] == 3 and len(page["failures"]) == 2
    assert all("%3Cb%3E" in failure["uri"] and "damaged" in failure["reason"] for failure in page["failures"])
    (place.folder / "red" / "<b>a.jpg").write_bytes(whole)
    again = place.client.post(f"{JOBS}/{job['id']}/retry")
    assert again.status_code == 202
    retried = place.ended(again.get_json()["id"])
    assert (retried["retry_of"], retried["seen"], retried["indexed"], retried["failed"]) == (job["id"], 3, 1, 2)


def test_nothing_failed_and_nothing_is_taken_up_again(place: Place) -> None:
    job = place.ended(place.start(sources=["red"])["id"])
    assert place.client.post(f"{JOBS}/{job['id']}/retry").status_code == 404


@pytest.mark.parametrize("name", ["20260101-000000-abcdef", "..", "%2e%2e", "nothing", "20260101-000000-abcdef%2f.."])
@pytest.mark.parametrize("part", ["", "/failures", "/events"])
def test_an_unknown_job_is_not_found(place: Place, name: str, part: str) -> None:
    assert place.client.get(f"{JOBS}/{name}{part}").status_code == 404


def test_one_job_runs_at_a_time_and_is_cancelled(place: Place) -> None:
    for number in range(5000):
        (place.folder / "red" / f"copy-{number}.jpg").hardlink_to(place.folder / "red" / "0.jpg")
    job = place.start(sources=["red"])
    assert place.client.post(JOBS, json={"sources": ["red"]}).status_code == 409
    assert place.client.post(f"{JOBS}/{job['id']}/cancel").get_json()["id"] == job["id"]
    ended = place.ended(job["id"])
    assert ended["state"] == "cancelled" and ended["seen"] < 5000
    assert place.client.post(f"{JOBS}/{job['id']}/cancel").get_json()["state"] == "cancelled", "it stays so"


def test_one_job_runs_at_a_time_in_all_server_processes_of_a_home(place: Place) -> None:
    for number in range(5000):
        (place.folder / "red" / f"copy-{number}.jpg").hardlink_to(place.folder / "red" / "0.jpg")
    job = place.start(sources=["red"])
    with BackgroundJobs(place.own.settings, place.own.store) as of_another_process:
        request = IndexRequest([str(place.folder / "blue")])
        with pytest.raises(JobRunning, match="Another job is running"):
            of_another_process.start(request)
        place.client.post(f"{JOBS}/{job['id']}/cancel")
        place.ended(job["id"])
        assert of_another_process.start(request).state == "running"


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


def test_a_job_is_followed_to_its_end(place: Place) -> None:
    with running(place.own) as record:
        stream = place.client.get(f"{JOBS}/{record.job.id}/events")
        assert stream.mimetype == "text/event-stream" and stream.headers["Cache-Control"] == "no-store"
        pieces = (piece.decode() for piece in stream.response)
        first = next(pieces)
        assert events(first)[0]["state"] == "running" and "id:" not in first
        record.end("done")
        last = list(pieces)[-1]
    assert last.startswith("id: end\n") and events(last)[0]["state"] == "done"
    reconnected = place.client.get(f"{JOBS}/{record.job.id}/events", headers={"Last-Event-ID": "end"})
    assert reconnected.status_code == 204, "a browser stops asking"
    assert events(place.client.get(f"{JOBS}/{record.job.id}/events").text)[0]["state"] == "done"


def test_a_stream_tells_each_step_of_a_job(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr("indexer.jobs.SAVED_EVERY_SECONDS", 0)
    with running(place.own) as record:
        told = (events(piece.decode())[0] for piece in place.client.get(f"{JOBS}/{record.job.id}/events").response)
        assert next(told)["state"] == "running"
        for indexed in (20, 30):
            record.count(BatchResult(10, 10))
            now = next(told)
            assert (now["state"], now["indexed"]) == ("running", indexed)
        record.end("done")
        assert [(end["state"], end["indexed"]) for end in told] == [("done", 30)]


def test_a_stream_shows_that_it_lives_and_does_not_last_for_ever(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(jobs, "KEEPALIVE_SECONDS", 0.05)
    monkeypatch.setattr(jobs, "MAX_STREAM_SECONDS", 0.5)
    with running(place.own) as record:
        text = place.client.get(f"{JOBS}/{record.job.id}/events").text
    assert text.count("data: ") == 1 and text.count(": still running") >= 2 and "id: end" not in text


def test_one_stream_too_many_ends_with_its_first_event(place: Place) -> None:
    streams = place.client.application.extensions[EXTENSION].streams
    for _ in range(MAX_STREAMS - 1):
        streams.acquire()
    with running(place.own) as record:
        url = f"{JOBS}/{record.job.id}/events"
        staying = place.client.get(url)
        next(iter(staying.response))
        assert place.client.get(url).text.count("data: ") == 1
        staying.close()
        again = iter(place.client.get(url).response)
        next(again)
        record.end("done")
        assert b"id: end" in b"".join(again), "the first one's place is free"


def test_streams_end_when_the_server_stops(place: Place) -> None:
    with running(place.own) as record:
        pieces = iter(place.client.get(f"{JOBS}/{record.job.id}/events").response)
        next(pieces)
        place.stopping.set()
        assert list(pieces) == []


@pytest.mark.slow
def test_the_map_is_computed_by_a_job_and_not_sent_twice(place: Place) -> None:
    missing = place.client.get("/api/v1/map")
    assert missing.status_code == 404 and "map" in missing.get_json()["remedy"]
    start = time.monotonic()
    job = place.ended(place.start(kind="map")["id"])
    assert (job["state"], job["seen"]) == ("done", 24) and 0 < job["seconds"] <= time.monotonic() - start
    answer = place.client.get("/api/v1/map")
    laid_out = answer.get_json()
    assert (laid_out["total"], laid_out["labels"]) == (24, ["blue", "green", "red"])
    assert {len(column) for column in laid_out["points"].values()} == {24}
    again = place.client.get("/api/v1/map", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304 and not again.data


def test_the_last_scheduled_sync_is_shown(own: Site) -> None:
    client = own.client
    assert client.get(JOBS).get_json()["last_sync"] is None
    assert "lookalike_sync" not in client.get("/metrics").text
    times = dict.fromkeys(("started_at", "ended_at"), "2026-01-01T00:00:00+00:00")
    sync = LastSync(**times, succeeded=False, removed=3, error="It was interrupted.")
    (own.settings.home / "last-sync.json").write_text(sync.model_dump_json())
    assert client.get(JOBS).get_json()["last_sync"] == sync.model_dump()
    metrics = client.get("/metrics").text
    assert "lookalike_sync_succeeded 0.0" in metrics and "lookalike_sync_removed 3.0" in metrics
