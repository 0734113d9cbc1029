"""What only the index on a server has: other clients who make the same collection at the same moment."""

import httpx
import numpy as np
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

from retrieval.index.server import ServerStore


class Overtaken(QdrantClient):
    """Another client makes each collection just before this one does, and has not yet made its payload index."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.indexed: list[str] = []

    def create_collection(self, collection_name: str, **options: object) -> bool:
        super().create_collection(collection_name, **options)
        raise UnexpectedResponse(409, "Conflict", b"already exists", httpx.Headers())

    def create_payload_index(self, collection_name: str, field_name: str, *options: object) -> None:
        self.indexed.append(field_name)


def test_a_collection_that_another_client_makes_at_the_same_moment_is_shared() -> None:
    client = Overtaken()
    with ServerStore(client).open("net-1", 4) as index:
        assert index.count() == 0
        assert index.search(np.ones(4, np.float32), 1) == []
    assert client.indexed == ["label"]
