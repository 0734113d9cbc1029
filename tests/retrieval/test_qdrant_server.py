"""What only an index on a server has: a server that refuses, is slow or unavailable, and other clients."""

import datetime
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import httpx
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_peer import Peer, served

from retrieval.errors import IndexMismatch, IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.index import Payload, Point, VectorIndex, client, open_store, retries
from retrieval.index.qdrant_server import ServerStore
from retrieval.photo_ref import photo_id
from retrieval.settings import Settings

SERVER_URL = os.environ.get("LOOKALIKE_TEST_QDRANT_URL")
COLLECTION = "/collections/lookalike-net-1"
POINT = Point(
    photo_id("file:///1.jpg"), np.ones(4, np.float32) / 2, Payload("file:///1.jpg", "a", "0", 1, 1, 1, "t", "t")
)


def described(dimension: int) -> dict[str, object]:
    """A collection as a server describes it; the client in memory says it."""
    memory = QdrantClient(":memory:")
    ServerStore(Settings(), lambda _: memory).open("net-1", dimension)
    description = memory.get_collection("lookalike-net-1").model_dump(mode="json")
    return description | {"payload_schema": {"label": {"data_type": "keyword", "points": 0}}}


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server with one empty collection of dimension 4."""
    answers = {
        ("GET", f"{COLLECTION}/exists"): [{"exists": True}],
        ("GET", COLLECTION): [described(4)],
        ("GET", "/collections"): [{"collections": [{"name": "lookalike-net-1"}, {"name": "lookalike-net-2"}]}],
        ("POST", f"{COLLECTION}/points/count"): [{"count": 3}],
    }
    with served(Peer(answers)) as running:
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "PAUSES_SECONDS", (0.01, 0.01))


def store(peer: Peer, **settings: object) -> ServerStore:
    return ServerStore(Settings(qdrant_url=peer.url, **settings))


@pytest.fixture
def index(peer: Peer, quick: None) -> VectorIndex:
    return store(peer).open("net-1", 4)


def test_a_web_request_is_retried_once(peer: Peer, index: VectorIndex) -> None:
    counting = ("POST", f"{COLLECTION}/points/count")
    peer.answers[counting] = [(503, "is starting")]
    for context, attempts in ((nullcontext(), 3), (retries.brief_retries(), 2)):
        peer.asked.clear()
        with context, pytest.raises(IndexUnreachable):
            index.count()
        assert peer.asked.count(counting) == attempts


def test_one_client_is_created_while_the_server_is_unavailable(
    peer: Peer, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    created: list[object] = []
    monkeypatch.setattr(client, "QdrantClient", lambda **options: created.append(1) or QdrantClient(**options))
    peer.answers[("GET", "/readyz")] = [(503, "is starting")]
    connected = store(peer)
    for _ in range(3):
        with pytest.raises(IndexUnreachable):
            connected.current()
    del peer.answers[("GET", "/readyz")]
    peer.answers[("GET", "/aliases")] = [{"aliases": []}]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: connected.current(), range(8))) == [None] * 8
    assert len(created) == 1


@pytest.mark.parametrize(
    ("status", "said", "kind", "sentence"),
    [
        (
            401,
            "Must provide an API key",
            LookalikeError,
            r"the key \(status 401: Must.*LOOKALIKE_QDRANT_API_KEY",
        ),
        (403, "Forbidden", LookalikeError, "refuses the key"),
        (429, "too many requests", IndexUnreachable, r"busy or starting \(status 429: too many requests\)"),
        (503, "starting", IndexUnreachable, "busy or starting"),
        (507, "No space left on device", IndexWriteFailed, r"server is full \(status 507: No space left"),
        (500, "Service internal error", LookalikeError, r"refused \(status 500: Service internal error\)"),
        (418, "", LookalikeError, "refused"),
    ],
)
def test_a_refusal_is_a_sentence(
    index: VectorIndex, peer: Peer, status: int, said: str, kind: type[LookalikeError], sentence: str
) -> None:
    peer.answers = {("*", "*"): [(status, said)]}
    with pytest.raises(kind, match=sentence):
        index.search(POINT.vector, 3)
    with pytest.raises(kind, match=sentence):
        index.count()
    write_error = IndexUnreachable if kind is IndexUnreachable else IndexWriteFailed
    with pytest.raises(write_error, match=sentence):
        index.upsert([POINT])
    with pytest.raises(write_error, match=sentence):
        index.delete([POINT.id])


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(index: VectorIndex, peer: Peer, status: int) -> None:
    asked = ("POST", f"{COLLECTION}/points/count")
    peer.answers[asked] = [(status, "busy"), (status, "busy"), {"count": 3}]
    assert index.count() == 3
    assert peer.asked.count(asked) == 3


def test_a_write_that_was_refused_for_a_moment_is_written(index: VectorIndex, peer: Peer) -> None:
    asked = ("PUT", f"{COLLECTION}/points")
    peer.answers[asked] = [(429, "busy"), {"operation_id": 1, "status": "completed"}]
    index.upsert([POINT])
    first, second = peer.bodies[asked]
    assert first == second
    assert second["points"][0]["id"] == str(POINT.id)


@pytest.mark.parametrize("status", [400, 401, 500, 507])
def test_what_another_attempt_does_not_mend_is_asked_once(index: VectorIndex, peer: Peer, status: int) -> None:
    asked = ("POST", f"{COLLECTION}/points/count")
    peer.answers[asked] = [(status, "no")]
    with pytest.raises(LookalikeError):
        index.count()
    assert peer.asked.count(asked) == 1


def test_a_slow_server_is_waited_for_only_so_long(peer: Peer) -> None:
    index = store(peer, qdrant_timeout_seconds=1).open("net-1", 4)
    peer.delay = 1.5
    with pytest.raises(IndexUnreachable, match=r"did not answer in time.*LOOKALIKE_QDRANT_TIMEOUT_SECONDS"):
        index.count()


def test_a_server_that_starts_is_waited_for(peer: Peer, quick: None) -> None:
    peer.answers[("GET", "/readyz")] = [(503, "starting"), (503, "starting"), b"all shards are ready"]
    assert store(peer).models() == ["net-1", "net-2"]


def test_a_server_that_does_not_become_ready_is_told(peer: Peer, quick: None) -> None:
    peer.answers[("GET", "/readyz")] = [(503, "starting")]
    with pytest.raises(IndexUnreachable, match="busy or starting"):
        store(peer).models()


def test_a_server_that_is_away_is_told(settings: Settings, quick: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(IndexUnreachable, match=r"can't be reached.*LOOKALIKE_QDRANT_URL"):
        open_store(Settings(qdrant_url=address)).models()


@pytest.mark.parametrize("page", [b"<html>Welcome</html>", b'{"hello": "world"}'])
def test_what_is_no_qdrant_server_is_told(peer: Peer, page: bytes) -> None:
    peer.answers = {("*", "*"): [page], ("GET", "/readyz"): [page]}
    with pytest.raises(LookalikeError, match="is no Qdrant server"):
        store(peer).models()


def test_another_dimension_is_told(peer: Peer) -> None:
    peer.answers[("GET", COLLECTION)] = [described(7)]
    with pytest.raises(IndexMismatch, match=r"holds vectors of 7 numbers.*makes 4"):
        store(peer).open("net-1", 4)


def test_the_key_is_sent(peer: Peer, recwarn: pytest.WarningsRecorder) -> None:
    assert store(peer, qdrant_api_key="secret").open("net-1", 4).count() == 3
    assert peer.headers["api-key"] == "secret"
    assert [str(warning.message) for warning in recwarn if "insecure" in str(warning.message)] == []


def test_a_new_collection_lies_as_the_settings_say(peer: Peer) -> None:
    peer.answers[("GET", f"{COLLECTION}/exists")] = [{"exists": False}]
    peer.answers[("PUT", COLLECTION)] = [True]
    store(peer, qdrant_shards=6, qdrant_replicas=2, qdrant_on_disk=True).open("net-1", 4)
    (body,) = peer.bodies[("PUT", COLLECTION)]
    assert (body["shard_number"], body["replication_factor"]) == (6, 2)
    assert body["vectors"] == {"size": 4, "distance": "Cosine", "on_disk": True}
    assert body["quantization_config"]["scalar"] == {"type": "int8", "always_ram": True}


def test_the_label_is_indexed_before_a_collection_is_used(peer: Peer) -> None:
    peer.answers[("GET", COLLECTION)] = [described(4) | {"payload_schema": {}}]
    peer.answers[("PUT", f"{COLLECTION}/index")] = [{"operation_id": 0, "status": "completed"}]
    store(peer).open("net-1", 4)
    assert peer.bodies[("PUT", f"{COLLECTION}/index")] == [{"field_name": "label", "field_schema": "keyword"}]


def test_both_aliases_move_in_one_call_and_only_if_no_other_activation_came_first(peer: Peer) -> None:
    aliases = {"lookalike": "lookalike-net-1", "lookalike-activation-7": "lookalike-net-1"}
    peer.answers[("GET", "/aliases")] = [as_aliases(aliases)]
    peer.answers[("POST", "/collections/aliases")] = [True]
    store(peer).activate("net-2")
    ((body),) = peer.bodies[("POST", "/collections/aliases")]
    guard = body["actions"][0]["rename_alias"]["new_alias_name"]
    assert body["actions"] == [
        {"rename_alias": {"old_alias_name": "lookalike-activation-7", "new_alias_name": guard}},
        {"delete_alias": {"alias_name": guard}},
        {"create_alias": {"collection_name": "lookalike-net-2", "alias_name": guard}},
        {"delete_alias": {"alias_name": "lookalike"}},
        {"create_alias": {"collection_name": "lookalike-net-2", "alias_name": "lookalike"}},
        {"delete_alias": {"alias_name": "lookalike-previous"}},
        {"create_alias": {"collection_name": "lookalike-net-1", "alias_name": "lookalike-previous"}},
    ]


def test_an_activation_that_came_too_late_starts_again(peer: Peer) -> None:
    before = as_aliases({"lookalike": "lookalike-net-1", "lookalike-activation-7": "lookalike-net-1"})
    after = as_aliases({"lookalike": "lookalike-net-3", "lookalike-activation-8": "lookalike-net-3"})
    peer.answers[("GET", "/aliases")] = [before, before, after]
    peer.answers[("POST", "/collections/aliases")] = [(404, "Alias lookalike-activation-7 does not exists!"), True]
    store(peer).activate("net-2")
    actions = peer.bodies[("POST", "/collections/aliases")][-1]["actions"]
    assert actions[0]["rename_alias"]["old_alias_name"] == "lookalike-activation-8"
    assert actions[-1]["create_alias"] == {"collection_name": "lookalike-net-3", "alias_name": "lookalike-previous"}


def test_a_refused_activation_is_an_error(peer: Peer) -> None:
    peer.answers[("GET", "/aliases")] = [as_aliases({"lookalike-activation-7": "lookalike-net-1"})]
    peer.answers[("POST", "/collections/aliases")] = [(403, "Global manage access is required")]
    with pytest.raises(LookalikeError, match="Global manage access"):
        store(peer).activate("net-2")


def as_aliases(collections: dict[str, str]) -> dict[str, object]:
    """Aliases as a server lists them."""
    return {"aliases": [{"alias_name": name, "collection_name": target} for name, target in collections.items()]}


def test_a_server_with_a_certificate_of_its_own_is_trusted_where_it_is_named(tmp_path: Path, quick: None) -> None:
    authority, tls = certificate(tmp_path)
    with served(Peer({("GET", "/collections"): [{"collections": []}]}), tls) as peer:
        assert store(peer, qdrant_ca=authority).models() == []
        with pytest.raises(IndexUnreachable, match="CERTIFICATE_VERIFY_FAILED"):
            store(peer).models()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_is_none_is_told(peer: Peer, tmp_path: Path, content: str | None) -> None:
    authority = tmp_path / "ca.pem"
    if content:
        authority.write_text(content)
    with pytest.raises(LookalikeError, match=r"ca\.pem can't be used.*LOOKALIKE_QDRANT_CA"):
        store(peer, qdrant_ca=authority).models()


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
    with ServerStore(Settings(), lambda _: client).open("net-1", 4) as index:
        assert index.count() == 0
        assert index.search(np.ones(4, np.float32), 1) == []
    assert client.indexed == ["label"]


@pytest.mark.skipif(SERVER_URL is None, reason="LOOKALIKE_TEST_QDRANT_URL names no Qdrant server")
def test_a_real_server_keeps_the_layout() -> None:
    client = QdrantClient(url=SERVER_URL)
    connected = ServerStore(Settings(qdrant_url=SERVER_URL, qdrant_shards=2, qdrant_on_disk=True))
    try:
        with connected.open("net-layout", 4) as index:
            index.upsert([POINT])
            assert index.search(POINT.vector, 1)[0].id == POINT.id
        collection = client.get_collection("lookalike-net-layout")
        assert collection.config.params.shard_number == 2
        assert collection.config.params.vectors.on_disk
        assert collection.config.quantization_config.scalar.type == models.ScalarType.INT8
        assert collection.payload_schema["label"].data_type == models.PayloadSchemaType.KEYWORD
    finally:
        client.delete_collection("lookalike-net-layout")


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for this machine that only its own file vouches for, and a server's end of TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / "ca.pem", folder / "key.pem"
    public.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(public, private)
    return public, tls
