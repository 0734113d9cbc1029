"""Who may read and who may write.

A key is sent as `Authorization: Bearer KEY`, or as the password of HTTP's basic authentication, which browsers ask
for by themselves.
"""

import hmac
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from web.services import services

# What needs no key where reading does: whether the process lives, and the files of the page itself.
OPEN = {"health.healthz", "health_below_api.healthz", "static"}

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def register(app: Flask) -> None:
    """Ask every request for a key where reading needs one; a browser's question before another (CORS) has none."""

    @app.before_request
    def check() -> None:
        if services().settings.reads_need_key and request.endpoint not in OPEN and request.method != "OPTIONS":
            _require_key()


def writes(view: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """A view that changes something: refused where the server is read-only, and without a key where there are keys.

    Where there are none, only a server for this machine alone lets anybody write. No website writes through its
    visitor's browser, which sends the key or reaches this machine by itself.
    """

    @wraps(view)
    def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        if reason := refusal():
            raise Forbidden(reason)
        if services().settings.api_keys:
            _require_key()
        if _is_from_a_foreign_page():
            raise Forbidden("Pages of another website may not write here; LOOKALIKE_CORS_ORIGINS names those that may.")
        return view(*args, **kwargs)

    return checked


def refusal() -> str | None:
    """Why nobody may write the way the current request came, with or without a key; None where one may."""
    served = services()
    if served.settings.read_only:
        return "This server is read-only (LOOKALIKE_READ_ONLY)."
    if not served.settings.api_keys and (not served.local or _comes_through_a_proxy()):
        return "This server is asked over a network and has no keys; LOOKALIKE_API_KEYS names them."
    return None


def _require_key() -> None:
    given = request.authorization
    sent = (given.token or given.password or "").encode() if given else b""
    # Each key is compared, and each in constant time, so that the time says nothing about them.
    known = [hmac.compare_digest(sent, key.get_secret_value().encode()) for key in services().settings.api_keys]
    if not any(known):
        raise Unauthorized(
            "The key is wrong." if sent else "This takes a key.",
            www_authenticate=[WWWAuthenticate("bearer"), WWWAuthenticate("basic", {"realm": "photo search"})],
        )


def _comes_through_a_proxy() -> bool:
    return services().settings.proxies > 0 or "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


def _is_from_a_foreign_page() -> bool:
    if request.origin is None or request.origin in services().settings.cors_origins:
        return False
    if fetched_from := request.headers.get("Sec-Fetch-Site"):
        return fetched_from != "same-origin"
    return request.origin != f"{request.scheme}://{request.host}"
