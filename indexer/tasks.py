"""The Celery tasks of a distributed job, and the worker process that runs them.

`celery -A indexer.tasks worker` or `lookalike worker` starts one. A task is a thin wrapper round `LocalEngine`, so
that a worker does what `lookalike index` does by itself. Messages are JSON of a stated version.
"""

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

from celery import Celery, Task
from celery.signals import worker_process_shutdown

from indexer.engine import LocalEngine
from retrieval.bundle import Bundle, load_bundle
from retrieval.errors import IndexBusy, IndexMismatch, IndexWriteFailed, LookalikeError
from retrieval.index import open_store
from retrieval.photos import PhotoRef
from retrieval.settings import Settings, load_settings

MESSAGE_VERSION = 1
QUEUE = "lookalike"
DEFAULT_BROKER = "redis://127.0.0.1:6379/0"
VISIBILITY_TIMEOUT_SECONDS = 300  # after which a batch that nobody acknowledged is given to another worker
RESULT_LIFE_SECONDS = 24 * 3600
RETRIES = 5

Message = dict[str, Any]


def make_app(settings: Settings) -> Celery:
    """The Celery application on the settings' Redis: late acknowledgement, one batch at a time, JSON only."""
    url = settings.redis_url or DEFAULT_BROKER
    made = Celery("lookalike", broker=url, backend=url)
    made.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_transport_options={"visibility_timeout": VISIBILITY_TIMEOUT_SECONDS},
        result_expires=RESULT_LIFE_SECONDS,
        result_serializer="json",
        task_acks_late=True,
        task_default_queue=QUEUE,
        task_reject_on_worker_lost=True,
        task_serializer="json",
        worker_prefetch_multiplier=1,
    )
    return made


app = make_app(load_settings())


class Workshop:
    """The engine of a worker process: built for the first task, after the fork, and kept for the next ones."""

    def __init__(self) -> None:
        self._engine: LocalEngine | None = None
        self._model: str | None = None

    def engine(self, model: str) -> LocalEngine:
        """The engine for a model.

        Raises:
            IndexMismatch: the worker has been given another model, or does not have this one.
            IndexBusy: another process holds the index.
        """
        if self._engine is None or self._model != model:
            self.close()
            settings = load_settings()
            self._engine = LocalEngine.open(settings, open_store(settings), _bundle_of(settings, model))
            self._model = model
        return self._engine

    def close(self) -> None:
        """Let go of index and threads."""
        if self._engine is not None:
            self._engine.close()
        self._engine = self._model = None


workshop = Workshop()


def _let_go(**_: object) -> None:
    workshop.close()


worker_process_shutdown.connect(_let_go)


def _task(work: Callable[[LocalEngine, Message], Message]) -> Task:
    """The task round a piece of work: checks the message, and answers with the result or with what is wrong.

    What another attempt may mend (an index that is busy, full or out of reach) is tried again, ever less often.
    """

    @app.task(name=f"lookalike.{work.__name__}", bind=True)  # type: ignore[untyped-decorator]
    @wraps(work)
    def task(self: Task, message: Message) -> Message:
        try:
            return work(workshop.engine(_checked(message)), message)
        except (IndexBusy, IndexWriteFailed) as error:
            if self.request.retries < RETRIES:
                raise self.retry(countdown=2**self.request.retries, max_retries=RETRIES) from None
            return _refusal(error)
        except LookalikeError as error:
            return _refusal(error)

    return task


@_task
def index_batch(engine: LocalEngine, message: Message) -> Message:
    """Index the photos of a message: `photos`, a list of [uri, label]."""
    photos = (PhotoRef(uri, label) for uri, label in message["photos"])
    return {"outcomes": [asdict(outcome) for outcome in engine.index(photos)]}


@_task
def remove_gone(engine: LocalEngine, message: Message) -> Message:
    """Remove the points of the message's `sources` whose photo is gone."""
    return {"removed": engine.remove_gone(message["sources"], urls=message["urls"])}


@_task
def cross_check(engine: LocalEngine, message: Message) -> Message:
    """Compare the index of the message's model with exact neighbours."""
    result = engine.cross_check()
    return {"cross_check": asdict(result) if result is not None else None}


def _checked(message: Message) -> str:
    """The model that a message asks for; raises `LookalikeError` where another version wrote the message."""
    version = message.get("version") if isinstance(message, dict) else None
    if version != MESSAGE_VERSION:
        raise LookalikeError(
            f"The worker was sent a message of version {version}; it understands version {MESSAGE_VERSION}.",
            "Run the same version of Lookalike everywhere.",
        )
    return str(message["model"])


def _bundle_of(settings: Settings, model: str) -> Bundle:
    """The worker's bundle: the one it was given by `LOOKALIKE_BUNDLE`, otherwise the installed one of that name."""
    bundle = load_bundle(settings.bundle or settings.models_folder / model)
    if bundle.model_id != model:
        raise IndexMismatch(
            f"The worker has the model {bundle.model_id}, and the job needs {model}.",
            "Start it with the job's bundle in LOOKALIKE_BUNDLE.",
        )
    return bundle


def _refusal(error: LookalikeError) -> Message:
    return {"error": error.message, "remedy": error.remedy}
