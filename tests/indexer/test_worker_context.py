"""The state that a worker process shares among its tasks."""

import logging

from indexer import tasks
from indexer.worker_context import WorkerContext
from retrieval.index.embedded import EmbeddedStore
from retrieval.settings import Settings


def test_closing_frees_the_store_and_the_connection_to_redis(settings: Settings) -> None:
    context = WorkerContext(settings.model_copy(update={"redis_url": "redis://127.0.0.1:6379"}))
    before = context.redis
    context.store.open("net-1", 8)
    context.close()
    with EmbeddedStore(settings.index_folder).open("net-1", 8) as again:
        assert again.count() == 0
    assert context.redis is not before
    context.close()


def test_the_log_of_a_worker_has_no_line_for_each_request() -> None:
    assert tasks.app.main == "lookalike"
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
