"""What keeps a browser from doing more with this server than it should."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, Response, request

from retrieval.errors import LookalikeError

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


def register(app: Flask) -> None:
    """Put the headers on every answer."""

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
        if not _is_this_machine(request.host):
            raise ForeignHost(
                f"This server listens on this machine only, and is not {request.host}.",
                "Ask for localhost or 127.0.0.1; a proxy must pass one of them on as the host.",
            )


def _is_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname
        return name == "localhost" or ip_address(name or "").is_loopback
    except ValueError:
        return False
