"""The vector index: one interface, and two engines, Qdrant Edge in this process and a Qdrant server."""

from retrieval.errors import LookalikeError
from retrieval.index.base import Hit, IndexStore, Point, VectorIndex
from retrieval.index.embedded import EmbeddedStore
from retrieval.index.filter import Filter
from retrieval.index.payload import Payload
from retrieval.index.retries import Turn
from retrieval.settings import Settings

__all__ = ["Filter", "Hit", "IndexStore", "Payload", "Point", "VectorIndex"]
__all__ += ["embedded_store", "open_store", "server_store"]


def open_store(settings: Settings, turn: Turn | None = None) -> IndexStore:
    """Return the store that the settings name: on a Qdrant server if they name one, otherwise embedded.

    Nothing is read, and no server contacted, before the store is used. `turn` returns a context that processes share,
    in which one of their requests at a time waits for a server that limits the rate of requests.
    """
    return server_store(settings, turn) if settings.qdrant_url else embedded_store(settings)


def embedded_store(settings: Settings) -> IndexStore:
    """Return the store in the home of the settings."""
    return EmbeddedStore(settings.index_folder)


def server_store(settings: Settings, turn: Turn | None = None) -> IndexStore:
    """Return the store on the Qdrant server of the settings; raises `LookalikeError` if they name none."""
    if settings.qdrant_url is None:
        raise LookalikeError("No Qdrant server is named.", "Set LOOKALIKE_QDRANT_URL, http://127.0.0.1:6333 perhaps.")
    from retrieval.index.qdrant_server import ServerStore  # noqa: PLC0415 - takes a second to import

    return ServerStore(settings, turn=turn)
