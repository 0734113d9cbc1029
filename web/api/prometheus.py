"""`GET /metrics`, for Prometheus."""

from contextlib import suppress
from datetime import datetime

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from indexer.crosscheck import load_cross_check
from indexer.scheduled_sync import load_sync
from retrieval.errors import LookalikeError
from web.services import services

blueprint = Blueprint("metrics", __name__)


@blueprint.get("/metrics")
def show() -> Response:
    """The counts of all processes, and the current state of the index and its cross-check."""
    body = generate_latest(services().metrics.registry) + generate_latest(_current_state())
    return Response(body, content_type=CONTENT_TYPE_LATEST)


def _current_state() -> CollectorRegistry:
    registry = CollectorRegistry()

    def gauge(name: str, description: str, value: float) -> None:
        Gauge(f"lookalike_{name}", description, ["model"], registry=registry).labels(index.model).set(value)

    # /readyz reports a missing model and an index that does not answer, `lookalike doctor` a damaged record.
    with suppress(LookalikeError):
        index = services().searcher.index
        gauge("photos", "Photos in the index of the current model.", index.count(exact=False))
        if check := load_cross_check(services().settings, index.model):
            gauge("crosscheck_recall", "Recall of the last cross-check.", check.recall_at_k)
            gauge("crosscheck_passed", "Whether the last cross-check passed.", check.passed)
            checked_at = datetime.fromisoformat(check.checked_at).timestamp()
            gauge("crosscheck_timestamp_seconds", "When the last cross-check was made.", checked_at)
    if last := load_sync(services().settings):
        for name, description, value in (
            ("sync_succeeded", "Whether the last scheduled sync succeeded.", last.succeeded),
            ("sync_timestamp_seconds", "When it ended.", datetime.fromisoformat(last.ended_at).timestamp()),
            ("sync_removed", "Photos that it removed.", last.removed),
            ("sync_failed", "Photos that it could not index.", last.failed),
        ):
            Gauge(f"lookalike_{name}", description, registry=registry).set(value)
    return registry
