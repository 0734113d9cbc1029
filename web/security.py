"""Response headers and host checks that protect the server and its users in a browser."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask_cors import CORS

from retrieval.errors import LookalikeError
from retrieval.settings import Settings
from web.logs import REQUEST_ID

# Style attributes (not style sheets) are allowed: they hold the aspect ratio of each photo in the grid.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
}


def register(app: Flask, settings: Settings) -> None:
    """Add the headers to every response, and allow pages of `LOOKALIKE_CORS_ORIGINS` to call the API."""
    if settings.cors_origins:
        CORS(
            app,
            resources=r"/api/.*",
            origins=list(settings.cors_origins),
            allow_headers=["Authorization", "Content-Type", "If-Match", REQUEST_ID],
            expose_headers=["ETag", "Location", "Retry-After", REQUEST_ID],
        )

    @app.after_request
    def secure(response: Response) -> Response:
        response.headers.extend(HEADERS)
        return response


class ForeignHost(LookalikeError):
    """A request to a local server under a host name that is not local."""


def require_local_host(app: Flask) -> None:
    """Refuse requests whose host name is not local.

    Otherwise a website could point its own name to 127.0.0.1 (DNS rebinding) and read the photos in its visitors'
    browsers.
    """

    @app.before_request
    def check() -> None:
        if not _is_local(host := _sent_host()):
            raise ForeignHost(
                f"This server accepts local requests only, and {host} is not a local host name.",
                "Use localhost or 127.0.0.1; a proxy must send one of them as the host.",
            )


def _sent_host() -> str:
    """The host of the request itself, not the one that a proxy reports."""
    sent: str = request.environ.get("werkzeug.proxy_fix.orig", request.environ).get("HTTP_HOST", "")
    return sent


@lru_cache(maxsize=64)
def _is_local(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
