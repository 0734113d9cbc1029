"""The stand-in for a Qdrant server answers as the real one does.

A recording of exchanges with Qdrant 1.18.3 is replayed if it is beside the checkout; the other tests need none.
"""

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from qdrant_http import listening
from stand_in import StandIn

RECORDING = Path(__file__).resolve().parents[2] / "shared" / "qdrant-exchanges.jsonl"
KEYS = ("full", "read")
JSON = {"content-type": "application/json"}
COLLECTION = "/collections/lookalike-a"
# What does not follow from the data: what the server assigns, and which points are in which shard.
ASSIGNED = {"version", "operation_id", "segments_count", "commit", "peer_id", "points_count in local_shards"}
UNORDERED = {"aliases", "collections"}

VECTORS = {"vectors": {"size": 4, "distance": "Cosine"}}
POINTS = [
    {"id": number, "vector": [1, number, 0, 0], "payload": {"label": "rose" if number % 2 else "tulip"}}
    for number in range(1, 7)
]
ROSE = {"must": [{"key": "label", "match": {"value": "rose"}}]}


@dataclass(frozen=True)
class Exchange:
    """A recorded request with the answer of the real server."""

    setup: str
    name: str
    method: str
    path: str
    key: str | None
    body: Any
    status: int
    headers: dict[str, str]
    answer: Any


def recorded(setup: str) -> list[Exchange]:
    """The exchanges with a server that was set up in one way, in their order."""
    if not RECORDING.exists():
        pytest.skip("there is no recording beside the checkout")
    with RECORDING.open(encoding="utf-8") as lines:
        exchanges = [Exchange(**json.loads(line)) for line in lines]
    return [exchange for exchange in exchanges if exchange.setup.startswith(setup)]


def asked(server: StandIn, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, Any, Any]:
    """Status, headers and content of an answer."""
    data = b"" if body is None else json.dumps(body).encode()
    given = server.answer(method, path, data, {"api-key": key} if key else {})
    headers = {name.lower(): value for name, value in given.headers.items()}
    return given.status, headers, json.loads(json.dumps(given.content))


def replayed(server: StandIn, exchange: Exchange) -> list[str]:
    """How the stand-in's answer differs from the recorded one."""
    request = (exchange.method, exchange.path, exchange.body, exchange.key)
    server.version = "1.18.3"
    status, headers, content = asked(server, *request)
    while "retry-after" in exchange.headers and status == 200:  # earlier requests, not recorded, had used the limit up
        status, headers, content = asked(server, *request)
    if (status, headers) != (exchange.status, exchange.headers):
        return [f"{exchange.name}: {status} {headers} {content} instead of {exchange.status} {exchange.headers}"]
    return [f"{exchange.name}: {difference}" for difference in differences(exchange.answer, content)]


def differences(expected: Any, found: Any, key: str = "", parent: str = "") -> Iterator[str]:
    """What differs between two JSON values, except for what does not follow from the data."""
    if key in ASSIGNED or f"{key} in {parent}" in ASSIGNED:
        if type(expected) is not type(found):
            yield f"{key} is {found!r} instead of a {type(expected).__name__}"
    elif isinstance(expected, dict) and isinstance(found, dict):
        if expected.keys() != found.keys() - {"time"}:
            yield f"{key} has the fields {sorted(found)} instead of {sorted(expected)}"
        for name in expected.keys() & found.keys():
            yield from differences(expected[name], found[name], name, key or parent)
    elif isinstance(expected, list) and isinstance(found, list):
        if key in UNORDERED:
            expected, found = sorted(expected, key=json.dumps), sorted(found, key=json.dumps)
        if len(expected) != len(found):
            yield f"{key} has {len(found)} items instead of {len(expected)}"
        for mine, theirs in zip(expected, found, strict=False):
            yield from differences(mine, theirs, "", key or parent)
    elif isinstance(expected, float) and isinstance(found, int | float):
        if found != pytest.approx(expected, abs=2e-6):
            yield f"{key} is {found} instead of {expected}"
    elif sentence(expected) != sentence(found):
        yield f"{key} is {found!r} instead of {expected!r}"


def sentence(value: Any) -> Any:
    """A value without the place of an error in the text of a request."""
    return re.sub(r" at line \d+ column \d+$", "", value) if isinstance(value, str) else value


def test_a_server_without_keys() -> None:
    server = StandIn()
    assert [problem for exchange in recorded("alone") for problem in replayed(server, exchange)] == []


def test_a_server_with_keys() -> None:
    server = StandIn(keys=KEYS)
    asked(server, "PUT", COLLECTION, VECTORS, "full")
    assert [problem for exchange in recorded("with an API key") for problem in replayed(server, exchange)] == []


@pytest.mark.parametrize(("setup", "fault"), [("disk full", "disk_full"), ("three nodes", "node_down")])
def test_a_server_with_a_fault(setup: str, fault: str) -> None:
    server = filled(next(exchange.body["points"] for exchange in recorded(setup) if "upsert" in exchange.name))
    found = []
    for exchange in recorded(setup):
        setattr(server, fault, not exchange.name.startswith("room again"))
        found += replayed(server, exchange)
    assert found == []


def filled(points: Sequence[Any] = POINTS, **options: Any) -> StandIn:
    server = StandIn(**options)
    asked(server, "PUT", COLLECTION, VECTORS)
    asked(server, "PUT", f"{COLLECTION}/points?wait=true", {"points": points})
    return server


def test_filters_hold_for_searches_counts_and_facets() -> None:
    server = filled()
    asked(server, "PUT", f"{COLLECTION}/index?wait=true", {"field_name": "label", "field_schema": "keyword"})
    query = {"query": [1, 6, 0, 0], "filter": ROSE, "limit": 2}
    (_, _, found) = asked(server, "POST", f"{COLLECTION}/points/query", query)
    assert [point["id"] for point in found["result"]["points"]] == [5, 3]
    assert asked(server, "POST", f"{COLLECTION}/points/count", {"filter": ROSE})[2]["result"] == {"count": 3}
    (_, _, facet) = asked(server, "POST", f"{COLLECTION}/facet", {"key": "label", "filter": ROSE})
    assert facet["result"]["hits"] == [{"value": "rose", "count": 3}]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/collections/none", None, 404, "Not found: Collection `none` doesn't exist!"),
        ("PUT", COLLECTION, VECTORS, 409, "Wrong input: Collection `lookalike-a` already exists!"),
        ("POST", f"{COLLECTION}/points/query", {"query": [1, 2]}, 400, "Wrong input: Vector dimension error: "),
        ("POST", f"{COLLECTION}/points/query", {"query": [1, 2], "limit": 0}, 422, "Validation error in JSON body"),
        ("POST", f"{COLLECTION}/points/query", [1], 400, "Format error in JSON body: invalid type: sequence"),
        ("POST", f"{COLLECTION}/facet", {"key": "size"}, 400, "Wrong input: No appropriate index for faceting"),
        ("POST", f"{COLLECTION}/points/scroll", {"order_by": "size"}, 400, "Wrong input: No range index"),
        ("PUT", f"{COLLECTION}/points", {"points": [{"id": "x", "vector": [1]}]}, 400, "Format error in JSON body: "),
    ],
)
def test_refusals(method: str, path: str, body: Any, status: int, message: str) -> None:
    given, _, content = asked(filled(), method, path, body)
    assert (given, content["status"]["error"][: len(message)]) == (status, message)


def test_rate_limits_count_points_and_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    server = filled()
    limits = {"strict_mode_config": {"enabled": True, "read_rate_limit": 2, "write_rate_limit": 600}}
    asked(server, "PATCH", COLLECTION, limits)
    write, read = ("PUT", f"{COLLECTION}/points"), ("POST", f"{COLLECTION}/points")
    many = [POINTS[0] | {"id": number} for number in range(1, 601)]
    assert asked(server, *write, {"points": [*many, POINTS[0] | {"id": 601}]})[:2] == (429, JSON)
    assert asked(server, *write, {"points": many})[0] == 200
    assert asked(server, *write, {"points": many[:15]})[:2] == (429, JSON | {"retry-after": "2"})
    assert asked(server, *read, {"ids": [1, 2, 3]})[:2] == (429, JSON)
    assert asked(server, *read, {"ids": [1, 2]})[0] == 200
    assert asked(server, *read, {"ids": [1]})[:2] == (429, JSON | {"retry-after": "30"})
    assert server.spent("lookalike-a") == {"Read": 2, "Write": 600}
    asked(server, "PATCH", COLLECTION, limits)
    scroll = f"{COLLECTION}/points/scroll"
    assert asked(server, "POST", scroll, {"filter": {"must": [*ROSE["must"], ROSE]}})[:2] == (429, JSON)
    assert asked(server, "POST", scroll, {"filter": {"must": [{"has_id": [1, 2, 3, 4]}]}, "limit": 4})[0] == 200
    assert server.spent("lookalike-a")["Read"] == 2


def test_shards_accept_what_another_one_refuses() -> None:
    server = StandIn()
    asked(server, "PUT", COLLECTION, VECTORS | {"shard_number": 3})
    asked(server, "PATCH", COLLECTION, {"strict_mode_config": {"enabled": True, "write_rate_limit": 100}})
    points = [POINTS[0] | {"id": number} for number in range(1, 181)]
    given = [asked(server, "PUT", f"{COLLECTION}/points", {"points": points})[0] for _ in range(2)]
    assert given == [200, 429]


def test_actions_on_aliases_before_one_that_is_refused_stay() -> None:
    server = filled()
    actions = [{"create_alias": {"collection_name": name, "alias_name": name[-1]}} for name in ("lookalike-a", "none")]
    assert asked(server, "POST", "/collections/aliases", {"actions": actions})[0] == 404
    aliases = asked(server, "GET", "/aliases")[2]["result"]["aliases"]
    assert aliases == [{"alias_name": "a", "collection_name": "lookalike-a"}]


def test_a_read_only_key_reads() -> None:
    server = StandIn(keys=KEYS)
    assert asked(server, "PUT", COLLECTION, VECTORS)[0] == 401
    assert asked(server, "PUT", COLLECTION, VECTORS, "read")[0] == 403
    assert asked(server, "PUT", COLLECTION, VECTORS, "full")[0] == 200
    assert asked(server, "POST", f"{COLLECTION}/points/count", {}, "read")[0] == 200


def test_a_restart_keeps_collections_on_disk(tmp_path: Path) -> None:
    server = filled(folder=tmp_path)
    before = asked(server, "GET", COLLECTION)[2]
    server.close()
    assert asked(StandIn(tmp_path), "GET", COLLECTION)[2] == before


def test_nodes_share_a_server_and_fail_alone() -> None:
    server = filled()
    with listening(server) as first, listening(server) as second, listening(server) as third:
        second.kill()
        third.silent.set()
        assert httpx.get(f"{first.url}{COLLECTION}").json()["result"]["points_count"] == len(POINTS)
        with pytest.raises(httpx.ConnectError):
            httpx.get(second.url)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(third.url, timeout=0.2)
