"""The Celery application of jobs and workers."""

from collections.abc import Callable
from typing import Any

from celery import Celery

from indexer.redis_client import DEFAULT_URL, retry
from retrieval.settings import Settings

QUEUE = "lookalike"
TRAIN_QUEUE = "lookalike-train"
TRAINER = "train-"  # the start of the names of workers that train
ANSWER_SECONDS = 3.0
SCHEDULED_CROSS_CHECK = "lookalike.scheduled_cross_check"
SCHEDULED_SYNC = "lookalike.scheduled_sync"


def make_app(settings: Callable[[], Settings]) -> Celery:
    """Create a Celery application: late acknowledgement, one task at a time, JSON only.

    The settings are read when the application is first used, so that creating one reads no environment.
    """
    app = Celery("lookalike", set_as_current=False)
    app.add_defaults(lambda: _configuration(settings()))
    return app


def count_workers(app: Celery) -> int:
    """Count the workers for indexing that answer within a second."""
    names = [name for answer in retry(lambda: app.control.ping(timeout=1.0)) for name in answer]
    return sum(not name.startswith(TRAINER) for name in names)


def trainer_answers(app: Celery) -> bool:
    """Return whether a worker that trains answers within three seconds."""
    only = {"pattern": f"{TRAINER}*", "matcher": "glob", "limit": 1}
    return bool(retry(lambda: app.control.ping(timeout=ANSWER_SECONDS, **only)))


def _configuration(settings: Settings) -> dict[str, Any]:
    schedule = {}
    intervals = {SCHEDULED_CROSS_CHECK: settings.crosscheck_minutes, SCHEDULED_SYNC: settings.sync_minutes}
    for task, minutes in intervals.items():
        if minutes is not None:
            schedule[task] = {"task": task, "schedule": 60 * minutes, "options": {"expires": 60 * minutes}}
    return {
        "accept_content": ["json"],
        "beat_schedule": schedule,
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "broker_transport_options": {"visibility_timeout": settings.redelivery_seconds},
        "broker_url": settings.redis_url or DEFAULT_URL,
        "task_acks_late": True,
        "task_default_queue": QUEUE,
        "task_ignore_result": True,
        "task_reject_on_worker_lost": True,
        "task_serializer": "json",
        "worker_prefetch_multiplier": 1,
    }
