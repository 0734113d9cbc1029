"""Who may read and who may write.

A key is sent as `Authorization: Bearer KEY`, or as the password of HTTP basic authentication, for which browsers show
a dialog.
"""

import hmac
from typing import Any

from apiflask import HTTPTokenAuth
from flask import Flask, request
from werkzeug.datastructures import Authorization, WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized

from web.services import services

# Readable without a key even if reading needs one: the liveness check and the static files of the page.
OPEN = {"health.healthz", "health_below_api.healthz", "static"}


class WriteAuth(HTTPTokenAuth):
    """Authorizes requests that change something, for `Blueprint.auth_required`.

    Writing is forbidden on a read-only server. If keys are configured, a request must send one of them; otherwise only
    a server that listens on this machine alone accepts writes. A page of another website may not write: its visitor's
    browser might send the key by itself.
    """

    def get_auth(self) -> Authorization | None:
        """The credentials of the request, of any scheme."""
        return request.authorization

    def authenticate(self, auth: Authorization | None, stored_password: Any) -> bool:
        """Raise `Forbidden` or `Unauthorized` with the reason, or return True."""
        if reason := refusal():
            raise Forbidden(reason)
        if services().settings.api_keys:
            _require_key()
        if _is_from_another_website():
            raise Forbidden(
                "Pages of other websites may not write to this server, except for those in LOOKALIKE_CORS_ORIGINS."
            )
        return True


WRITES = WriteAuth(name="key")


def register(app: Flask) -> None:
    """Require a key for every request if reading needs one; preflight requests (CORS) never send any."""

    @app.before_request
    def check() -> None:
        if services().settings.reads_need_key and request.endpoint not in OPEN and request.method != "OPTIONS":
            _require_key()


def refusal() -> str | None:
    """Why the current request could not write even with a key, or None if it could."""
    served = services()
    if served.settings.read_only:
        return "This server is read-only (LOOKALIKE_READ_ONLY)."
    if not served.settings.api_keys and (not served.local or _comes_through_a_proxy()):
        return "This server is reached over a network and has no keys; set LOOKALIKE_API_KEYS."
    return None


def _require_key() -> None:
    given = request.authorization
    sent = (given.token or given.password or "").encode() if given else b""
    # All keys are compared, each in constant time, so that the response time reveals nothing about them.
    known = [hmac.compare_digest(sent, key.get_secret_value().encode()) for key in services().settings.api_keys]
    if not any(known):
        raise Unauthorized(
            "The key is wrong." if sent else "This request needs a key.",
            www_authenticate=[WWWAuthenticate("bearer"), WWWAuthenticate("basic", {"realm": "photo search"})],
        )


def _comes_through_a_proxy() -> bool:
    return services().settings.proxies > 0 or "X-Forwarded-For" in request.headers or "Forwarded" in request.headers


def _is_from_another_website() -> bool:
    if request.origin is None or request.origin in services().settings.cors_origins:
        return False
    if fetched_from := request.headers.get("Sec-Fetch-Site"):
        return fetched_from != "same-origin"
    return request.origin != f"{request.scheme}://{request.host}"
