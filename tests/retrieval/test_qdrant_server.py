"""What only an index on a server has: a server that refuses, is slow or unavailable, and other clients."""

import datetime
import ipaddress
import json
import os
import socket
import ssl
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from qdrant_client import QdrantClient, models
from qdrant_http import direct_client, listening
from qdrant_peer import Peer, served
from stand_in import Answer, StandIn

from retrieval.bundle import Bundle, install_bundle
from retrieval.current_model import bundle_in_use
from retrieval.errors import IndexMismatch, IndexUnreachable, IndexWriteFailed, LookalikeError, NoModel
from retrieval.index import Filter, Payload, Point, VectorIndex, client, open_store, retries
from retrieval.index.qdrant_server import ServerStore
from retrieval.index.server_index import ServerIndex
from retrieval.photo_ref import photo_id
from retrieval.settings import Settings

SERVER_URL = os.environ.get("LOOKALIKE_TEST_QDRANT_URL")
COLLECTION = "/collections/lookalike-net-1"
DISK_FULL = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
NODE_DOWN = (
    "Service internal error: 1 of 1 read operations failed: Service internal error: Tonic status error: code: "
    "'The service is currently unavailable', message: \"tcp connect error\""
)
POINT = Point(
    photo_id("file:///1.jpg"), np.ones(4, np.float32) / 2, Payload("file:///1.jpg", "a", "0", 1, 1, 1, "t", "t")
)


@cache
def described(dimension: int) -> dict[str, object]:
    """A collection as a server describes it."""
    server = StandIn()
    ServerStore(Settings(), lambda _: direct_client(server)).open("net-1", dimension)
    description: dict[str, object] = server.answer("GET", COLLECTION, b"", {}).content["result"]
    return description


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server with empty collections of dimension 4."""
    answers: dict[tuple[str, str], list[object]] = {
        **{("GET", f"/collections/lookalike-net-{number}/exists"): [{"exists": True}] for number in (1, 2, 3)},
        **{("GET", f"/collections/lookalike-net-{number}"): [described(4)] for number in (1, 2, 3)},
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
        (403, "Forbidden", LookalikeError, "this key may not write"),
        (429, "too many requests", IndexUnreachable, r"busy or starting \(status 429: too many requests\)"),
        (503, "starting", IndexUnreachable, "busy or starting"),
        (500, DISK_FULL, IndexWriteFailed, r"server is full \(status 500: Service internal error: No space left"),
        (507, "No space left on device", IndexWriteFailed, r"server is full \(status 507: No space left"),
        (500, NODE_DOWN, IndexUnreachable, r"A node of the cluster is down.*no other copy.*QDRANT_REPLICAS is 1"),
        (404, "Collection `lookalike-net-1` doesn't exist!", LookalikeError, r"no longer has.*net-1.*migrate"),
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


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_is_busy_for_a_moment_is_asked_again(index: VectorIndex, peer: Peer, status: int) -> None:
    asked = ("POST", f"{COLLECTION}/points/count")
    said = NODE_DOWN if status == 500 else "busy"
    peer.answers[asked] = [(status, said), (status, said), {"count": 3}]
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
    with pytest.raises(LookalikeError, match="is not a Qdrant server"):
        store(peer).models()


def test_another_dimension_is_told(peer: Peer) -> None:
    peer.answers[("GET", COLLECTION)] = [described(7)]
    with pytest.raises(IndexMismatch, match=r"holds vectors of 7 numbers.*makes 4"):
        store(peer).open("net-1", 4)


def test_the_key_is_sent(peer: Peer, recwarn: pytest.WarningsRecorder) -> None:
    assert store(peer, qdrant_api_key="secret").open("net-1", 4).count() == 3
    assert peer.headers["api-key"] == "secret"
    assert [str(warning.message) for warning in recwarn if "insecure" in str(warning.message)] == []


def test_a_new_collection_has_the_layout_of_the_settings(peer: Peer) -> None:
    peer.answers[("GET", f"{COLLECTION}/exists")] = [{"exists": False}, {"exists": True}]
    peer.answers[("PUT", COLLECTION)] = [True]
    peer.answers[("PUT", f"{COLLECTION}/index")] = [{"operation_id": 0, "status": "completed"}]
    layout = {"shards": 6, "replicas": 2, "on_disk": True, "hnsw_m": 32, "write_consistency": 2}
    store(peer, **{f"qdrant_{name}": value for name, value in layout.items()}).open("net-1", 4)
    (body,) = peer.bodies[("PUT", COLLECTION)]
    assert (body["shard_number"], body["replication_factor"], body["write_consistency_factor"]) == (6, 2, 2)
    assert body["hnsw_config"] == {"m": 32, "ef_construct": 200}
    assert body["metadata"] == {"made_by": "lookalike", "prefix": "lookalike", "model": "net-1", "schema": 1}
    label = {"field_name": "label", "field_schema": {"type": "keyword", "prefix": True}}
    assert label in peer.bodies[("PUT", f"{COLLECTION}/index")]
    assert body["vectors"] == {"size": 4, "distance": "Cosine", "on_disk": True}
    assert body["quantization_config"]["scalar"] == {"type": "int8", "always_ram": True}


def test_a_missing_payload_index_is_created_when_a_job_starts(peer: Peer) -> None:
    peer.answers[("GET", COLLECTION)] = [described(4) | {"payload_schema": {}}]
    peer.answers[("PUT", f"{COLLECTION}/index")] = [{"operation_id": 0, "status": "completed"}]
    index = store(peer).open("net-1", 4)
    assert ("PUT", f"{COLLECTION}/index") not in peer.asked
    index.upgrade()
    label = {"field_name": "label", "field_schema": {"type": "keyword", "prefix": True}}
    assert label in peer.bodies[("PUT", f"{COLLECTION}/index")]


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
    answers = {("GET", "/collections"): [{"collections": []}]}
    with served(Peer(answers), tls) as peer:
        assert store(peer, qdrant_ca=authority).models() == []
        with pytest.raises(IndexUnreachable, match=r"CERTIFICATE_VERIFY_FAILED.*LOOKALIKE_QDRANT_CA"):
            store(peer).models()


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_an_authority_that_is_none_is_told(peer: Peer, tmp_path: Path, content: str | None) -> None:
    authority = tmp_path / "ca.pem"
    if content:
        authority.write_text(content)
    with pytest.raises(LookalikeError, match=r"ca\.pem can't be used.*LOOKALIKE_QDRANT_CA"):
        store(peer, qdrant_ca=authority).models()


def test_a_collection_that_another_client_makes_at_the_same_moment_is_shared() -> None:
    class Overtaken(StandIn):
        """Another client creates each collection just before this one does, and has not yet indexed its payload."""

        def answer(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
            if (method, url.partition("?")[0]) == ("PUT", COLLECTION):
                super().answer(method, url, body, headers)
            return super().answer(method, url, body, headers)

    server = Overtaken()
    with ServerStore(Settings(), lambda _: direct_client(server)).open("net-1", 4) as index:
        assert index.count() == 0
        assert index.search(np.ones(4, np.float32), 1) == []
        assert index.labels() == {}


def in_memory(server: StandIn, **settings: object) -> ServerStore:
    return ServerStore(Settings(**settings), lambda _: direct_client(server))


def asked(server: StandIn, method: str, path: str, body: object = None) -> object:
    """The result of a request that something else makes."""
    given = server.answer(method, path, json.dumps(body).encode() if body else b"", {})
    assert given.status == 200, given.content
    return given.content["result"]


def test_graph_and_metadata_of_an_existing_collection_are_updated_when_a_job_starts() -> None:
    server = StandIn()
    asked(server, "PUT", COLLECTION, {"vectors": {"size": 4, "distance": "Cosine"}})
    asked(server, "PUT", f"{COLLECTION}/index", {"field_name": "label", "field_schema": "keyword"})
    index = in_memory(server).open("net-1", 4)
    assert asked(server, "GET", COLLECTION)["config"]["hnsw_config"]["m"] == 16
    index.upgrade()
    config = asked(server, "GET", COLLECTION)["config"]
    assert (config["hnsw_config"]["m"], config["hnsw_config"]["ef_construct"]) == (24, 200)
    assert config["metadata"]["made_by"] == "lookalike"
    index.upgrade()
    assert server.asked.count(("PATCH", COLLECTION)) == 1


def test_a_key_that_may_not_change_a_collection_is_a_warning(
    peer: Peer, index: VectorIndex, caplog: pytest.LogCaptureFixture
) -> None:
    peer.answers[("GET", COLLECTION)] = [described(4) | {"payload_schema": {}}]
    peer.answers[("PUT", f"{COLLECTION}/index")] = [(403, "Global manage access is required")]
    index.upgrade()
    assert "lookalike-net-1 can be used, but not brought up to date" in caplog.text


FOREIGN = {
    "named vectors": {"vectors": {"embedding": {"size": 4, "distance": "Cosine"}}},
    "without a label index": {"vectors": {"size": 4, "distance": "Cosine"}},
    "another maker": {"vectors": {"size": 4, "distance": "Cosine"}, "metadata": {"made_by": "shop"}},
    "another installation": {
        "vectors": {"size": 4, "distance": "Cosine"},
        "metadata": {"made_by": "lookalike", "prefix": "lookalike-net"},
    },
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_collection_that_something_else_made_is_left_alone(kind: str) -> None:
    server = StandIn()
    asked(server, "PUT", COLLECTION, FOREIGN[kind])
    if kind.startswith("another"):
        asked(server, "PUT", f"{COLLECTION}/index", {"field_name": "label", "field_schema": "keyword"})
    connected = in_memory(server)
    assert connected.models() == []
    for use in (lambda: connected.remove("net-1"), lambda: connected.open("net-1", 4)):
        with pytest.raises(IndexMismatch, match=r"lookalike-net-1.*was not made by this installation"):
            use()
    assert asked(server, "GET", "/collections")["collections"] == [{"name": "lookalike-net-1"}]


def test_installations_with_other_prefixes_share_a_server() -> None:
    server = StandIn()
    stores = {prefix: in_memory(server, qdrant_prefix=prefix) for prefix in ("lookalike", "lookalike-b")}
    for prefix, connected in stores.items():
        connected.open(f"net-{len(prefix)}", 4).close()
        connected.activate(f"net-{len(prefix)}")
    for prefix, connected in stores.items():
        assert connected.models() == [f"net-{len(prefix)}"]
        assert (connected.current(), connected.previous()) == (f"net-{len(prefix)}", None)


def test_an_alias_of_something_else_is_found_before_anything_moves() -> None:
    server = StandIn()
    connected = in_memory(server)
    connected.open("net-1", 4).close()
    asked(server, "PUT", "/collections/shop", {"vectors": {"size": 4, "distance": "Cosine"}})
    create = {"create_alias": {"collection_name": "shop", "alias_name": "lookalike"}}
    asked(server, "POST", "/collections/aliases", {"actions": [create]})
    before = asked(server, "GET", "/aliases")
    for use in (connected.current, lambda: connected.activate("net-1")):
        with pytest.raises(IndexMismatch, match=r"alias lookalike.*collection shop.*LOOKALIKE_QDRANT_PREFIX"):
            use()
    assert asked(server, "GET", "/aliases") == before


def test_a_collection_with_the_name_of_an_alias_is_found_before_anything_moves() -> None:
    server = StandIn()
    connected = in_memory(server)
    connected.open("net-1", 4).close()
    asked(server, "PUT", "/collections/lookalike-previous", {"vectors": {"size": 4, "distance": "Cosine"}})
    with pytest.raises(IndexMismatch, match="is named lookalike-previous"):
        connected.activate("net-1")
    assert asked(server, "GET", "/aliases")["aliases"] == [] or connected.current() is None


def test_a_batch_that_is_larger_than_the_rate_limit_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    server, clock = StandIn(), Clock(monkeypatch)
    index = in_memory(server).open("net-1", 4)
    asked(server, "PATCH", COLLECTION, {"strict_mode_config": {"enabled": True, "write_rate_limit": 39}})
    many = [replace(POINT, id=uuid.uuid4()) for _ in range(40)]
    start = clock.seconds
    index.upsert(many)
    assert clock.seconds - start <= 3
    assert index.count() == 40
    with retries.brief_retries(), pytest.raises(IndexUnreachable, match="limits the rate"):
        index.upsert(many[:20])


def test_reading_a_batch_costs_two_reads() -> None:
    """However many photos it has: each retrieved point would cost one."""
    server = StandIn()
    index = in_memory(server).open("net-1", 4)
    many = [replace(POINT, id=uuid.uuid4()) for _ in range(64)]
    index.upsert(many)
    asked(server, "PATCH", COLLECTION, {"strict_mode_config": {"enabled": True, "read_rate_limit": 60}})
    assert index.get([point.id for point in many]).keys() == {point.id for point in many}
    assert index.get([uuid.uuid4() for _ in many]) == index.get([]) == {}
    assert server.spent("lookalike-net-1")["Read"] == 4


def test_a_job_waits_as_long_as_the_rate_limit_demands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points ÷ limit: the server is asked again once its tokens suffice, and no attempt is wasted."""
    server, clock = StandIn(), Clock(monkeypatch)
    index = in_memory(server).open("net-1", 4)
    asked(server, "PATCH", COLLECTION, {"strict_mode_config": {"enabled": True, "write_rate_limit": 60}})
    start = clock.seconds
    for _ in range(8):
        index.upsert([replace(POINT, id=uuid.uuid4()) for _ in range(30)])
    bound = (8 * 30 - 60) / (60 / 60)  # the bucket is full at first
    assert bound <= clock.seconds - start <= 1.2 * bound
    assert index.count() == 8 * 30
    notice = index.slowed_by()
    assert notice and "limits the rate" in notice
    assert index.slowed_by() is None


def test_one_request_at_a_time_waits_for_the_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    server, clock = StandIn(), Clock(monkeypatch)
    waits: list[float] = []

    @contextmanager
    def turn() -> Iterator[None]:
        start = clock.seconds
        clock.sleep(5)  # while another worker waits, which does not count again
        yield
        waits.append(clock.seconds - start)

    index = ServerStore(Settings(), lambda _: direct_client(server), turn).open("net-1", 4)
    asked(server, "PATCH", COLLECTION, {"strict_mode_config": {"enabled": True, "write_rate_limit": 60}})
    for _ in range(4):
        index.upsert([replace(POINT, id=uuid.uuid4()) for _ in range(30)])
    assert len(waits) == 2, "the first requests are accepted"
    assert all(30 <= wait <= 31 for wait in waits)


def test_shards_that_refuse_in_turn_accept_a_batch_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each attempt spends what the shards have that accept it."""
    server, clock = StandIn(), Clock(monkeypatch)
    index = in_memory(server, qdrant_shards=3).open("net-1", 4)
    asked(server, "PATCH", COLLECTION, {"strict_mode_config": {"enabled": True, "write_rate_limit": 16}})
    start = clock.seconds
    for number in range(4):
        index.upsert([replace(POINT, id=uuid.UUID(int=number * 24 + one)) for one in range(24)])
    assert clock.seconds - start < 200, "it takes 297 seconds without longer pauses"
    assert index.count() == 96


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(time, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.mark.parametrize("fault", ["killed", "silent", "starting"])
def test_no_search_fails_if_one_of_three_addresses_does(fault: str, quick: None) -> None:
    server = StandIn()
    in_memory(server).open("net-1", 4).upsert([POINT])
    starting = Peer({("*", "*"): [(503, "starting")]})
    with listening(server) as first, listening(server) as second, listening(server) as third, served(starting) as peer:
        urls = [peer.url if fault == "starting" else first.url, second.url, third.url]
        connected = ServerStore(Settings(qdrant_url=", ".join(urls), search_timeout_seconds=3))
        index = connected.open("net-1", 4)
        if fault == "killed":
            first.kill()
        elif fault == "silent":
            first.silent.set()
        for _ in range(5):
            with index.search_time_limit():
                assert index.search(POINT.vector, 1)[0].id == POINT.id


def test_a_search_has_a_time_limit_of_its_own(quick: None) -> None:
    server = StandIn()
    with listening(server) as node:
        index = ServerStore(Settings(qdrant_url=node.url, search_timeout_seconds=0.2)).open("net-1", 4)
        node.silent.set()
        start = time.monotonic()
        refused = pytest.raises(IndexUnreachable, match=r"in time.*LOOKALIKE_SEARCH_TIMEOUT_SECONDS")
        with refused, index.search_time_limit():
            index.search(POINT.vector, 1)
        assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("few", "some", "on_disk", "exact", "acorn"),
    [(9, 9, False, False, False), (0, 9, False, True, False), (0, 9, True, False, True), (0, 0, False, False, True)],
    ids=["few", "some in memory", "some on disk", "many"],
)
def test_a_filtered_search_is_a_count_and_one_search_as_the_share_of_the_points_demands(
    monkeypatch: pytest.MonkeyPatch, few: int, some: int, on_disk: bool, exact: bool, acorn: bool
) -> None:
    bodies: list[dict[str, object]] = []

    class Noting(StandIn):
        def answer(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
            bodies.append(json.loads(body) if body else {})
            return super().answer(method, url, body, headers)

    monkeypatch.setattr(ServerIndex, "SCANNED_BYTES", few * 4 * 4)
    monkeypatch.setattr(ServerIndex, "FULL_SCAN_POINTS", some)
    index = in_memory(Noting(), qdrant_on_disk=on_disk).open("net-1", 4)
    index.upsert([replace(POINT, id=uuid.uuid4()) for _ in range(7)])
    bodies.clear()
    assert len(index.search(POINT.vector, 3, Filter(("a",)))) == 3
    counted, searched = bodies
    assert counted["exact"] is False
    assert searched["params"]["exact"] is exact
    assert searched["params"].get("acorn") == ({"enable": True, "max_selectivity": 1.0} if acorn else None)
    assert (searched["params"]["hnsw_ef"] == 4096) is acorn


def test_reads_and_writes_have_the_consistency_of_the_settings() -> None:
    seen: list[str] = []

    class Noting(StandIn):
        def answer(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> Answer:
            seen.append(url)
            return super().answer(method, url, body, headers)

    options = {"qdrant_read_consistency": "majority", "qdrant_write_ordering": "strong"}
    index = in_memory(Noting(), **options).open("net-1", 4)
    index.upsert([POINT])
    assert "ordering=strong" in seen[-1]
    index.search(POINT.vector, 1)
    assert "consistency=majority" in seen[-1]
    index.vectors([POINT.id])
    assert "consistency=majority" in seen[-1]


@pytest.mark.parametrize(("version", "warns"), [("1.18.3", True), ("1.19.2", False), ("1.21.0", False)])
def test_versions_of_server_and_client_that_are_far_apart_are_warned_of(version: str, warns: bool) -> None:
    assert bool(client.versions_apart(version, "1.20.0")) == warns


def test_doctor_learns_of_versions_that_are_far_apart(caplog: pytest.LogCaptureFixture) -> None:
    server = StandIn()
    server.version = "1.18.3"
    advice = in_memory(server).advice()
    assert advice and "version 1.18.3" in advice
    assert "version 1.18.3" in caplog.text
    server.version = metadata.version("qdrant-client")
    assert in_memory(server).advice() is None


def test_an_index_that_was_deleted_is_not_called_new(settings: Settings, bundle: Bundle) -> None:
    install_bundle(bundle, settings.models_folder)
    server = StandIn()
    message = rf"no index any more \(Qdrant.*{bundle.model_id}.*snapshot.*migrate.*lookalike index"
    with pytest.raises(NoModel, match=message):
        bundle_in_use(settings, in_memory(server))


def test_an_old_server_is_refused_with_both_versions() -> None:
    server = StandIn()
    server.version = "1.15.4"
    with pytest.raises(LookalikeError, match=r"version 1\.15\.4; version 1\.16 or later.*client is \d"):
        in_memory(server).models()


def test_a_deleted_collection_is_named_with_the_ways_to_restore_it() -> None:
    server = StandIn()
    index = in_memory(server).open("net-1", 4)
    asked(server, "DELETE", COLLECTION)
    with pytest.raises(LookalikeError, match=r"no longer has the collection lookalike-net-1.*snapshot.*migrate"):
        index.search(POINT.vector, 1)


@pytest.mark.skipif(SERVER_URL is None, reason="LOOKALIKE_TEST_QDRANT_URL names no Qdrant server")
def test_a_real_server_keeps_the_layout() -> None:
    client = QdrantClient(url=SERVER_URL)
    settings = Settings(qdrant_url=SERVER_URL, qdrant_prefix="test-layout", qdrant_shards=2, qdrant_on_disk=True)
    connected = ServerStore(settings)
    try:
        with connected.open("net-layout", 4) as index:
            index.upsert([POINT])
            assert index.search(POINT.vector, 1)[0].id == POINT.id
        collection = client.get_collection("test-layout-net-layout")
        assert collection.config.params.shard_number == 2
        assert collection.config.params.vectors.on_disk
        assert collection.config.quantization_config.scalar.type == models.ScalarType.INT8
        assert collection.payload_schema["label"].data_type == models.PayloadSchemaType.KEYWORD
    finally:
        client.delete_collection("test-layout-net-layout")


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
