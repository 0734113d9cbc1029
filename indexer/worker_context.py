"""The state that a worker process shares among its tasks."""

from functools import cache, cached_property, partial

import redis
from celery.signals import worker_process_shutdown

from indexer.executor import LocalExecutor
from indexer.redis_client import connect, exclusive
from retrieval.bundle import Bundle, load_bundle
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.errors import IndexMismatch
from retrieval.index import IndexStore, open_store
from retrieval.settings import Settings, load_settings

WRITING = "lookalike-writing-"  # before a model, in the name of the lock of those that write to its index
WAITING = "lookalike-waiting"  # the name of the lock of the request that waits for a server that limits the rate
TURN_SECONDS = 0.2  # between attempts to get that lock


class WorkerContext(Closing):
    """The settings, Redis client, index store and executor of a worker process, each made when it is first needed.

    Neither an embedder nor an index survives a fork, so the context belongs to the process that runs the tasks.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._executor: LocalExecutor | None = None
        self._model: str | None = None

    @cached_property
    def redis(self) -> "redis.Redis":
        """The client of the Redis server."""
        return connect(self.settings)

    @cached_property
    def store(self) -> IndexStore:
        """The index store."""
        return open_store(self.settings, partial(exclusive, self.redis, WAITING, TURN_SECONDS))

    def executor(self, model: str) -> LocalExecutor:
        """Return the executor of a model; that of another model is closed.

        Raises:
            IndexMismatch: the worker has another model.
            IndexBusy: another process holds the index.
        """
        if self._executor is None or self._model != model:
            self._close_executor()
            self._executor = LocalExecutor.open(
                self.settings,
                self.store,
                self._bundle(model),
                PhotoDecoder(self.settings.source_policy()),
                partial(exclusive, self.redis, f"{WRITING}{model}"),
            )
            self._model = model
        return self._executor

    def close(self) -> None:
        """Close the executor with its index and threads, the index store, and the connection to Redis."""
        self._close_executor()
        for name in ("store", "redis"):
            if opened := vars(self).pop(name, None):
                opened.close()

    def _close_executor(self) -> None:
        if self._executor is not None:
            self._executor.close()
        self._executor = self._model = None

    def _bundle(self, model: str) -> Bundle:
        """Return the bundle named by `LOOKALIKE_BUNDLE`, otherwise the installed one of the model."""
        bundle = load_bundle(self.settings.bundle or self.settings.models_folder / model)
        if bundle.model_id != model:
            raise IndexMismatch(
                f"The worker has the model {bundle.model_id}, and the job needs {model}.",
                "Start it with the job's bundle in LOOKALIKE_BUNDLE.",
            )
        return bundle


@cache
def worker_context() -> WorkerContext:
    """Return the context of this process, made by its first task and closed when Celery ends the process."""
    context = WorkerContext(load_settings())
    worker_process_shutdown.connect(lambda **_: context.close(), weak=False)
    return context
