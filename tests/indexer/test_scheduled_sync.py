"""The scheduled sync, without Redis on a thread of the server; tests/indexer/test_workers.py has it with workers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import make
import pytest
from waiting import until

from indexer import scheduled_sync
from indexer.background import BackgroundJobs
from indexer.jobs import Job, JobRecord, list_jobs
from indexer.scheduled_sync import LastSync, load_sync, run_schedule
from retrieval.bundle import Bundle
from retrieval.errors import LookalikeError
from retrieval.index import open_store
from retrieval.settings import Settings, load_settings


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return make.library(tmp_path / "photos", per_label=2)


@contextmanager
def scheduled(settings: Settings, source: Path, bundle: Bundle) -> Iterator[Settings]:
    """Run the schedule on a thread, with one sync per second."""
    changed = settings.model_copy(
        update={"sync_sources": (str(source),), "sync_minutes": 1 / 60, "bundle": bundle.folder}
    )
    stopping = threading.Event()
    with open_store(changed) as store, BackgroundJobs(changed, store) as jobs:
        thread = threading.Thread(target=run_schedule, args=[changed, jobs, stopping])
        thread.start()
        yield changed
        stopping.set()
        thread.join()


def last(settings: Settings, **expected: object) -> LastSync:
    """Wait for a result with these values."""

    def found() -> LastSync | None:
        result = load_sync(settings)
        return result if result and expected.items() <= result.model_dump().items() else None

    result = until(found)
    assert result is not None
    return result


def test_photos_are_indexed_and_removed_on_a_schedule(settings: Settings, bundle: Bundle, own: Path, command) -> None:
    with scheduled(settings, own, bundle) as changed:
        result = last(changed, indexed=6)
        assert (result.succeeded, result.error) == (True, None)
        assert list_jobs(changed)[-1].started_by == "schedule" and list_jobs(changed)[-1].sync
        (own / "red" / "0.jpg").unlink()
        last(changed, removed=1, indexed=0)
    listed = command("jobs", "list", "--json").json
    assert listed["last_sync"]["succeeded"] is True
    assert "Last scheduled sync, at " in command("jobs", "list").err


def test_a_sync_that_can_not_start_is_recorded(settings: Settings, bundle: Bundle, tmp_path: Path, command) -> None:
    with scheduled(settings, tmp_path / "missing", bundle) as changed:
        result = last(changed, succeeded=False)
    assert result.job is None and "does not exist" in str(result.error)
    assert "does not exist" in command("jobs", "list").err


def test_a_refused_removal_is_no_success(settings: Settings, bundle: Bundle, own: Path) -> None:
    with scheduled(settings, own, bundle) as changed:
        last(changed, indexed=6)
        for photo in (own / "red").iterdir():
            photo.unlink()
        result = last(changed, succeeded=False)
    assert result.removed == 0 and f"{own}: 2 of 6 photos were not removed." in str(result.error)


def test_a_sync_that_the_stopping_server_interrupts_is_due_again(
    settings: Settings,
) -> None:
    class Jobs:
        def start(self, request: object) -> Job:
            stopping.set()
            return Job(id="20260101-000000-aaaaaa", sources=[], model="m", state="running", started_at="t")

    stopping = threading.Event()
    scheduled_sync._run_on_server(settings, Jobs(), stopping)
    assert load_sync(settings) is None


def test_a_damaged_result_is_none(settings: Settings) -> None:
    assert load_sync(settings) is None
    settings.home.mkdir()
    (settings.home / "last-sync.json").write_text("{")
    assert load_sync(settings) is None


def test_without_sources_nothing_is_scheduled(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_SYNC_MINUTES", "60")
    with pytest.raises(LookalikeError, match=r"SYNC_MINUTES .*requires sources in LOOKALIKE_SYNC_SOURCES"):
        load_settings()
    monkeypatch.setenv("LOOKALIKE_SYNC_SOURCES", "/photos, s3://shop/photos")
    assert load_settings().sync_sources == ("/photos", "s3://shop/photos")


def test_two_syncs_do_not_overlap(settings: Settings, bundle: Bundle, own: Path) -> None:
    changed = settings.model_copy(update={"sync_sources": (str(own),), "bundle": bundle.folder})
    running = JobRecord(changed.jobs_folder, scheduled_sync._request(changed), bundle.model_id)
    with open_store(changed) as store:
        scheduled_sync.run_on_worker(changed, store)
        assert len(list_jobs(changed)) == 1
        running.end("interrupted")
        scheduled_sync.run_on_worker(changed, store)
    assert len(list_jobs(changed)) == 2 and load_sync(changed).indexed == 6
