"""`/metrics`: what Prometheus collects.

The counts of all worker processes together, where `PROMETHEUS_MULTIPROC_DIR` says where they leave them.
"""

import os
import time
from contextlib import suppress
from datetime import datetime

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from indexer.crosscheck import load_cross_check
from retrieval.errors import LookalikeError
from retrieval.search import SearchResponse
from web.services import services

blueprint = Blueprint("metrics", __name__)

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

steps = Histogram("lookalike_search_step_seconds", "What a search spent on a step.", ["step"], buckets=BUCKETS)
results = Counter("lookalike_results", "Photos found by searches.")
requests = Histogram(
    "lookalike_request_seconds", "Whole requests, by route.", ["method", "route", "status"], buckets=BUCKETS
)
failures = Counter("lookalike_failures", "Requests that were refused or failed, by status.", ["status"])


def observe_search(answer: SearchResponse) -> None:
    """Count a search's results, and the time of each of its steps."""
    for step, milliseconds in answer.took_ms.items():
        steps.labels(step).observe(milliseconds / 1000)
    results.inc(len(answer.results))


def register(app: Flask) -> None:
    """Count and time the application's requests."""

    @app.after_request
    def observe(response: Response) -> Response:
        # A client may make up as many methods and addresses as it likes; those of ours are few.
        method, route = (request.method, request.url_rule.rule) if request.url_rule else ("none", "none")
        requests.labels(method, route, response.status_code).observe(time.perf_counter() - g.started)
        if response.status_code >= 400:
            failures.labels(response.status_code).inc()
        return response


@blueprint.get("/metrics")
def show() -> Response:
    """The counts of all processes, and what index and cross-check are at this moment."""
    return Response(generate_latest(counted()) + generate_latest(_momentary()), content_type=CONTENT_TYPE_LATEST)


def counted() -> CollectorRegistry:
    """What this process counted, or all processes that share a folder for it."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _momentary() -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, description: str, value: float) -> None:
        Gauge(f"lookalike_{name}", description, ["model"], registry=registry).labels(index.model).set(value)

    index = services().searcher.index
    with suppress(LookalikeError):  # an index that does not answer is told by /readyz, a damaged record by doctor
        gauge("photos", "Photos in the index of the model that serves.", index.count())
        if check := load_cross_check(services().settings, index.model):
            gauge("crosscheck_recall", "Recall of the last cross-check.", check.recall_at_k)
            gauge("crosscheck_passed", "Whether the last cross-check passed.", check.passed)
            checked_at = datetime.fromisoformat(check.checked_at).timestamp()
            gauge("crosscheck_timestamp_seconds", "When the last cross-check was made.", checked_at)
    return registry
