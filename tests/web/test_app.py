"""The application changes nothing of its process, and shares nothing with another application."""

import os
import re
import subprocess
import sys

from flask.testing import FlaskClient
from pydantic import SecretStr
from serving import ROOT, Site, client_of

IMPORT = """
from apiflask.schema_adapters import registry
from prometheus_client import REGISTRY
adapter, metrics = registry._adapters["pydantic"], {metric.name for metric in REGISTRY.collect()}
import web.app
assert registry._adapters["pydantic"] is adapter
assert {metric.name for metric in REGISTRY.collect()} == metrics
"""


def test_importing_it_registers_nothing() -> None:
    subprocess.run([sys.executable, "-c", IMPORT], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60)


def test_each_application_counts_its_own_requests(shared: Site) -> None:
    one, other = client_of(shared), client_of(shared)
    for client, times in ((one, 3), (other, 1)):
        for _ in range(times):
            client.get("/api/v1/labels")
    assert [requests(client) for client in (one, other)] == [3, 1]
    assert "process_resident_memory_bytes" in one.get("/metrics").text


def test_a_request_without_a_key_learns_nothing_about_its_body(shared: Site) -> None:
    client = client_of(shared, api_keys=(SecretStr("sesame"),))
    for body in (
        {"data": {"image": "no file"}},
        {"json": {"sources": "no list"}},
        {"data": b"{", "content_type": "text/plain"},
    ):
        for path in ("images", "jobs"):
            assert client.post(f"/api/v1/{path}", **body).status_code == 401


def requests(client: FlaskClient) -> float:
    counts = re.search(
        r'^lookalike_request_seconds_count\{.*route="/api/v1/labels".*\} (.+)$', client.get("/metrics").text, re.M
    )
    return float(counts[1]) if counts else 0
