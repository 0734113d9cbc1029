"""The scheduled sync: a job that indexes `LOOKALIKE_SYNC_SOURCES` every `LOOKALIKE_SYNC_MINUTES`, and its last result.

With Redis, `beat` schedules it and a worker runs it (`indexer.tasks`); without, the server does.
"""

import logging
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from indexer.background import BackgroundJobs
from indexer.jobs import IndexRequest, Job, list_jobs, load_job
from indexer.runner import run_job
from retrieval.cancellation import CancellationToken
from retrieval.errors import JobRunning, LookalikeError
from retrieval.files import write_atomically
from retrieval.index import IndexStore
from retrieval.settings import Settings
from retrieval.wording import count_of

STARTED_BY = "schedule"  # in the records of the jobs
SHARED_NAME = "last-sync"
CHECK_SECONDS = 10
POLL_SECONDS = 0.5
RECENT_JOBS = 20

log = logging.getLogger("lookalike")


class LastSync(BaseModel):
    """The result of the last scheduled sync."""

    started_at: str = Field(description="ISO 8601, in UTC")
    ended_at: str = Field(description="ISO 8601, in UTC")
    succeeded: bool = Field(description="whether the job was completed, and removed what is gone")
    job: str | None = Field(None, description="id of the job; null if it could not start")
    indexed: int = 0
    removed: int = 0
    failed: int = 0
    error: str | None = Field(None, description="why it did not succeed, or what it refused to remove")

    def summary(self) -> str:
        """Return the result as a sentence."""
        counts = f"{count_of(self.indexed)} indexed, {self.removed:,} removed, {self.failed:,} failed"
        return f"Last scheduled sync, at {self.ended_at}: {counts}.{f' {self.error}' if self.error else ''}"


def run_schedule(settings: Settings, jobs: BackgroundJobs, stopping: threading.Event) -> None:
    """Run the sync whenever it is due, as a job of a server, until that stops; return at once if none is scheduled."""
    if settings.sync_minutes is None:
        return
    pause = min(CHECK_SECONDS, 20 * settings.sync_minutes)
    while not stopping.wait(pause):
        if _is_due(settings):
            _run_on_server(settings, jobs, stopping)


def run_on_worker(settings: Settings, store: IndexStore) -> None:
    """Run a sync on a thread of a worker, which its batches need, too; skip it if the last one has not ended."""
    recent = list_jobs(settings, limit=RECENT_JOBS)
    if any(job.started_by == STARTED_BY and job.state == "running" for job in recent):
        return
    started = datetime.now(UTC)
    try:
        finished = run_job(settings, store, _request(settings), CancellationToken(), lambda _job: None)
        _save(settings, _result(started, finished.job))
    except LookalikeError as error:
        log.warning("The scheduled sync failed: %s", error)
        _save(settings, _failed(started, str(error)))


def _run_on_server(settings: Settings, jobs: BackgroundJobs, stopping: threading.Event) -> None:
    started = datetime.now(UTC)
    try:
        job = jobs.start(_request(settings))
        while job.state == "running" and not stopping.wait(POLL_SECONDS):
            job = load_job(settings, job.id)
        if job.state != "running":  # otherwise the server stops, and the sync is due when it starts again
            _save(settings, _result(started, job))
    except JobRunning:  # tried again at the next check
        return
    except LookalikeError as error:
        log.warning("The scheduled sync failed: %s", error)
        _save(settings, _failed(started, str(error)))


def _request(settings: Settings) -> IndexRequest:
    return IndexRequest(settings.sync_sources, sync=True, urls=True, started_by=STARTED_BY)


def _is_due(settings: Settings) -> bool:
    last = load_sync(settings)
    interval = timedelta(minutes=settings.sync_minutes or 0)
    return last is None or datetime.now(UTC) - datetime.fromisoformat(last.started_at) >= interval


def _result(started: datetime, job: Job) -> LastSync:
    refused = " ".join(
        f"{one.source}: {one.would_remove:,} of {count_of(one.of)} were not removed. {one.reason}"
        for one in job.removal_refused
    )
    error = job.error or refused or (None if job.state == "done" else f"It was {job.state}.")
    counts = job.model_dump(include={"indexed", "removed", "failed"})
    return _ended(started, succeeded=error is None, job=job.id, error=error, **counts)


def _failed(started: datetime, error: str) -> LastSync:
    """Return the result of a sync whose job could not start or failed."""
    return _ended(started, succeeded=False, error=error)


def _ended(started: datetime, **fields: Any) -> LastSync:
    times = {"started_at": started, "ended_at": datetime.now(UTC)}
    return LastSync(**{name: time.isoformat(timespec="seconds") for name, time in times.items()}, **fields)


def _save(settings: Settings, result: LastSync) -> None:
    """Save a result, also for other machines that share the Redis server; it is logged if it can't be saved."""
    content = result.model_dump_json(indent=2) + "\n"
    try:
        write_atomically(_file(settings), content)
        if settings.redis_url:
            from indexer.redis_client import store_value  # noqa: PLC0415 - not needed without Redis

            store_value(settings, SHARED_NAME, content.encode())
    except (OSError, LookalikeError) as error:
        log.warning("The result of the scheduled sync can't be saved: %s", error)


def load_sync(settings: Settings) -> LastSync | None:
    """Return the result of the last scheduled sync on any machine; None if there was none, or its file is damaged."""
    if settings.redis_url:
        from indexer.redis_client import load_value  # noqa: PLC0415 - not needed without Redis

        with suppress(LookalikeError, ValidationError):  # fall back to the file
            if content := load_value(settings, SHARED_NAME):
                return LastSync.model_validate_json(content)
    with suppress(OSError, ValidationError):
        return LastSync.model_validate_json(_file(settings).read_bytes())
    return None


def _file(settings: Settings) -> Path:
    return settings.home / "last-sync.json"
