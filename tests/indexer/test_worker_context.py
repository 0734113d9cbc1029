"""The state that a worker process shares among its tasks."""

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
