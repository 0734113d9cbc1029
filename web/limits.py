"""Rate limits."""

from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from retrieval.settings import Settings

REDIS_SECONDS = 1  # that a request waits for an unresponsive Redis

# Not counted: a page needs many of them, or monitoring requests them all the time.
UNCOUNTED = {
    "static",
    "images.thumbnail",
    "health.healthz",
    "health.readyz",
    "health_below_api.healthz",
    "health_below_api.readyz",
    "metrics.show",
}


def register(app: Flask, settings: Settings) -> None:
    """Refuse a client's requests above `LOOKALIKE_RATE_LIMIT`.

    They are counted in Redis for all processes if `LOOKALIKE_REDIS_URL` is set and Redis is available; otherwise each
    process counts its own.
    """
    if settings.rate_limit is None:
        return
    Limiter(
        get_remote_address,
        app=app,
        application_limits=[settings.rate_limit],
        application_limits_exempt_when=lambda: request.endpoint in UNCOUNTED,
        headers_enabled=True,
        retry_after="delta-seconds",
        storage_uri=settings.redis_url or "memory://",
        storage_options={"socket_timeout": REDIS_SECONDS, "socket_connect_timeout": REDIS_SECONDS},
        in_memory_fallback_enabled=settings.redis_url is not None,
        key_prefix="lookalike",
    )
