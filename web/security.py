"""What keeps a browser from doing more with this server than it should."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask_cors import CORS

from retrieval.errors import LookalikeError
from retrieval.settings import Settings
from web.logs import REQUEST_ID

# Style attributes (not style sheets) may stand in the page: the grid needs each photo's proportions there.
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
    """Put the headers on every answer, and let the pages of `LOOKALIKE_CORS_ORIGINS` call the API."""
    if settings.cors_origins:
        CORS(
            app,
            resources=r"/api/.*",
            origins=list(settings.cors_origins),
            allow_headers=["Authorization", "Content-Type", REQUEST_ID],
            expose_headers=["Location", "Retry-After", REQUEST_ID],
        )

    @app.after_request
    def secure(response: Response) -> Response:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response


class ForeignHost(LookalikeError):
    """A request that calls this machine by another's name."""


def answer_only_locally(app: Flask) -> None:
    """Refuse requests under any name but this machine's own.

    A website can have its own name point to 127.0.0.1 (DNS rebinding), and could read the photos in its visitors'
    browsers otherwise.
    """

    @app.before_request
    def check() -> None:
        if not _is_this_machine(host := _sent_host()):
            raise ForeignHost(
                f"This server listens on this machine only, and is not {host}.",
                "Ask for localhost or 127.0.0.1; a proxy must pass one of them on as the host.",
            )


def _sent_host() -> str:
    """The host as it came in, whatever a proxy says that its client has asked for."""
    sent: str = request.environ.get("werkzeug.proxy_fix.orig", request.environ).get("HTTP_HOST", "")
    return sent


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
