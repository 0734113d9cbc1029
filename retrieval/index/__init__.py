"""The vector index: one interface, an engine in the process (Qdrant Edge) and one on a server (Qdrant)."""

from retrieval.index.base import Hit, IndexStore, Payload, Point, VectorIndex
from retrieval.settings import Settings

__all__ = ["Hit", "IndexStore", "Payload", "Point", "VectorIndex", "open_store"]


def open_store(settings: Settings) -> IndexStore:
    """The place where the settings keep the indexes: a Qdrant server where one is named, otherwise this machine."""
    if settings.qdrant_url:
        from retrieval.index.qdrant_server import ServerStore  # noqa: PLC0415 - takes a second to import

        return ServerStore.connect(settings)
    from retrieval.index.embedded import EmbeddedStore  # noqa: PLC0415 - not needed beside a server

    return EmbeddedStore(settings.index_folder)
