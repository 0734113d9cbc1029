"""The indexes on a Qdrant server or cluster: a collection for each model, and an alias for the current one."""

from collections.abc import Callable
from importlib.metadata import version

from qdrant_client import QdrantClient

from retrieval.index.base import IndexStore
from retrieval.index.client import Connection, connect, versions_apart
from retrieval.index.retries import Turn
from retrieval.index.server_aliases import Aliases
from retrieval.index.server_collections import Collections, removed_collections
from retrieval.index.server_index import NOTE, ServerIndex
from retrieval.settings import Settings


class ServerStore(IndexStore):
    """The collections of an installation on a server; see `retrieval.index.server_collections`.

    One client is created when the store is first used, and shared by all threads. Its methods raise as
    `Connection.request`; `turn` is that of `Connection`.
    """

    allows_many_processes = True

    def __init__(
        self, settings: Settings, connect: Callable[[Settings], QdrantClient] = connect, turn: Turn | None = None
    ) -> None:
        super().__init__()
        self.location = f"Qdrant at {settings.qdrant_url}"
        self.settings = settings
        self.connection = Connection(settings, connect, turn)
        self.collections = Collections(self.connection)
        self._aliases = Aliases(self.connection, self.collections)

    def models(self) -> list[str]:
        return self.collections.models()

    def current(self) -> str | None:
        return self._aliases.current()

    def previous(self) -> str | None:
        return self._aliases.previous()

    def remove(self, model: str) -> None:
        """See `IndexStore.remove`; raises `IndexMismatch` if something else made the collection."""
        self.collections.require_ours_now(model)
        super().remove(model)

    def advice(self) -> str | None:
        """See `IndexStore.advice`: versions of server and client that are too far apart."""
        found = self.connection.request(lambda client: client.info()).version
        return versions_apart(found, version("qdrant-client"))

    def close(self) -> None:
        """See `IndexStore.close`; the client is closed, too."""
        super().close()
        self.connection.close()

    def _open(self, model: str, dimension: int, look: int) -> ServerIndex:
        return ServerIndex(self, self.connection, self.collections, model=model, dimension=dimension, look=look)

    def _replace_current(self, expected: str | None, model: str) -> bool:
        return self._aliases.replace_current(expected, model)

    def _saved_count(self, model: str) -> int:
        name = self.collections.name(model)
        return self.connection.request(lambda client: client.count(name, exact=False)).count

    def _saved_note(self, model: str, name: str) -> str | None:
        collection = self.collections.name(model)
        metadata = self.connection.request(lambda client: client.get_collection(collection)).config.metadata or {}
        return metadata.get(NOTE + name)

    def _remove(self, model: str) -> None:
        name = self.collections.name(model)
        removed = removed_collections(self.connection).name(model)
        self.connection.request(lambda client: client.delete_collection(removed))
        self.connection.request(lambda client: client.delete_collection(name))
        self.collections.forget(name)
