"""How many photos have changed since something was computed from an index."""

from datetime import datetime, timedelta

from indexer.jobs import Job, list_jobs
from retrieval.index import VectorIndex
from retrieval.settings import Settings

MOST_JOBS = 100  # that are read


def photos_changed(settings: Settings, index: VectorIndex, since: str, total: int) -> int:
    """Return about how many photos have changed since a time, ISO 8601, when the index had `total` photos.

    These are the photos that later jobs have indexed or removed; if the number of photos differs by more than that,
    because others were added or removed over HTTP, it is the difference.
    """
    jobs = [job for job in list_jobs(settings, limit=MOST_JOBS) if job.model == index.model]
    by_jobs = sum(job.indexed + job.removed for job in jobs if _end(job) > datetime.fromisoformat(since))
    return max(by_jobs, abs(index.count(exact=False) - total))


def _end(job: Job) -> datetime:
    return datetime.fromisoformat(job.started_at) + timedelta(seconds=job.seconds)
