"""The Prometheus metrics that an application counts."""

import os
import time
from functools import partial

from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector

from retrieval.search_response import SearchResponse

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class RequestMetrics:
    """Counts and times the requests of one application.

    If `PROMETHEUS_MULTIPROC_DIR` is set, worker processes share their counts in that folder.
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        histogram = partial(Histogram, buckets=BUCKETS, registry=registry)
        counter = partial(Counter, registry=registry)
        self._steps = histogram("lookalike_search_step_seconds", "Duration of the steps of searches.", ["step"])
        self._results = counter("lookalike_results", "Results of searches.")
        labels = ["method", "route", "status"]
        self._requests = histogram("lookalike_request_seconds", "Duration of requests by route.", labels)
        self._failures = counter("lookalike_failures", "Refused and failed requests by status.", ["status"])

    @property
    def registry(self) -> CollectorRegistry:
        """The counts of this process, or of all processes that share a folder."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return self._registry
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry

    def observe_search(self, response: SearchResponse) -> None:
        """Count the results of a search and the time of each of its steps."""
        for step, milliseconds in response.took_ms.items():
            self._steps.labels(step).observe(milliseconds / 1000)
        self._results.inc(len(response.results))

    def observe_requests(self, app: Flask) -> None:
        """Count and time each request of an application."""

        @app.after_request
        def observe(response: Response) -> Response:
            # Clients can invent any number of methods and addresses; the routes are few.
            method, route = (request.method, request.url_rule.rule) if request.url_rule else ("none", "none")
            self._requests.labels(method, route, response.status_code).observe(time.perf_counter() - g.started)
            if response.status_code >= 400:
                self._failures.labels(response.status_code).inc()
            return response
