"""Who may do what.

A request sends a key as `Authorization: Bearer KEY`, as the password of HTTP basic authentication, for which browsers
show a dialog, or as the cookie that `/login` sets.
"""

import hmac
from typing import Any

from apiflask import HTTPTokenAuth
from flask import Flask, g, request
from werkzeug.datastructures import Authorization, WWWAuthenticate
from werkzeug.exceptions import Forbidden, Unauthorized
from werkzeug.wrappers import Response

from retrieval.api_keys import Key, Scope
from web.services import services

# Readable without a key even if reading needs one: the liveness check, and the static files and the login of the page.
OPEN = {"health.healthz", "health_below_api.healthz", "static", "login.show", "login.sign_in"}
# The scope that changing something needs, by blueprint; `Scope.WRITE` for all others.
SCOPES = {"models": Scope.ADMIN, "searches": Scope.READ}
COOKIE_SECONDS = 30 * 24 * 3600


class ScopeTooLow(Forbidden):
    """A request with a key of a too low scope; the header of RFC 6750 says that another key is needed."""

    def get_headers(self, *args: Any, **options: Any) -> list[tuple[str, str]]:
        """See `HTTPException.get_headers`."""
        return [*super().get_headers(*args, **options), ("WWW-Authenticate", 'Bearer error="insufficient_scope"')]


class WriteAuth(HTTPTokenAuth):
    """Authorizes requests that change something, for `Blueprint.auth_required`.

    A request needs a key of the scope in `SCOPES`, and none is accepted on a read-only server. A page of another
    website may not write: its visitor's browser might send the key by itself.
    """

    def get_auth(self) -> Authorization | None:
        """The credentials of the request, of any scheme."""
        return request.authorization

    def authenticate(self, auth: Authorization | None, stored_password: Any) -> bool:
        """Raise `Forbidden` or `Unauthorized` with the reason, or return True."""
        require_writing(SCOPES.get(request.blueprint or "", Scope.WRITE))
        return True


WRITES = WriteAuth(name="key")


def register(app: Flask) -> None:
    """Identify the key of each request, and require one if reading needs it; preflight requests (CORS) send none."""

    @app.before_request
    def check() -> None:
        current()
        if services().settings.reads_need_key and request.endpoint not in OPEN and request.method != "OPTIONS":
            require(Scope.READ)


def current() -> Key | None:
    """The key of the current request; None if it sends no valid one."""
    if "key" not in g:
        g.key = (known(_sent()) if request.authorization else None) or _of_cookie()
    found: Key | None = g.key
    return found


def known(secret: str) -> Key | None:
    """The key with this secret; None if there is none."""
    return _only_match([(key, key.secret) for key in services().keys], secret)


def require(scope: Scope) -> None:
    """Raise `Unauthorized` if the current request has no valid key, and `ScopeTooLow` if the key has a lower scope."""
    key = current()
    if key is None:
        raise Unauthorized("The key is wrong." if _sent() else "This request needs a key.", www_authenticate=_schemes())
    if key.scope < scope:
        raise ScopeTooLow(f"The key {key.name} has the scope {key.scope}; this request needs {scope}.")


def require_writing(scope: Scope) -> None:
    """Raise `Forbidden` or `Unauthorized` unless the current request may change what a scope permits."""
    if services().settings.read_only:
        raise Forbidden("This server is read-only (LOOKALIKE_READ_ONLY).")
    require(scope)
    refuse_other_websites()


def may(scope: Scope) -> bool:
    """Whether the current request has a key of this scope or a higher one."""
    key = current()
    return key is not None and key.scope >= scope


def offers(scope: Scope) -> bool:
    """Whether a page shows the controls that need a scope: they ask a visitor without a key for one."""
    return not services().settings.read_only and (current() is None or may(scope))


def sees_uris() -> bool:
    """Whether the current request may see where photos are on the server, in URIs, job records and messages.

    On a server that only this machine can reach everyone may, unless reading needs a key; elsewhere, who may write.
    """
    served = services()
    return (served.local and not served.settings.reads_need_key) or may(Scope.WRITE)


def refuse_other_websites() -> None:
    """Raise `Forbidden` if a page of another website sends the current request."""
    if _is_from_another_website():
        raise Forbidden(
            "Pages of other websites may not write to this server, except for those in LOOKALIKE_CORS_ORIGINS."
        )


def remember(response: Response, key: Key) -> None:
    """Add the cookie that stands for a key to a response."""
    response.set_cookie(
        cookie_name(),
        key.cookie,
        max_age=COOKIE_SECONDS,
        path=request.script_root or "/",
        secure=request.is_secure,
        httponly=True,
        samesite="Strict",
    )


def cookie_name() -> str:
    """`lookalike_<port>`: a browser sends the cookies of one server to those on other ports of the same host, too."""
    own = request.environ.get("werkzeug.proxy_fix.orig", request.environ)  # not the port that a proxy reports
    return f"lookalike_{own['SERVER_PORT']}"


def _sent() -> str:
    """The secret in the `Authorization` header of the current request; empty if there is none."""
    given = request.authorization
    if given is None:
        return ""
    # WSGI decodes headers as latin-1.
    return given.token.encode("latin-1").decode(errors="replace") if given.token else given.password or ""


def _of_cookie() -> Key | None:
    cookie = request.cookies.get(cookie_name(), "") if "Cookie" in request.headers else ""
    return _only_match([(key, key.cookie) for key in services().keys], cookie) if cookie else None


def _only_match(keys: list[tuple[Key, str]], sent: str) -> Key | None:
    """The first key whose text was sent; all are compared in constant time, so that the time reveals nothing."""
    found = [key for key, text in keys if hmac.compare_digest(sent.encode(), text.encode())]
    return found[0] if found else None


def _schemes() -> list[WWWAuthenticate]:
    """How to authenticate. Basic makes a browser show its own dialog, which scripts of the page do without."""
    basic = WWWAuthenticate("basic", {"realm": "photo search"})
    is_script = request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"
    return [WWWAuthenticate("bearer"), *([] if is_script else [basic])]


def _is_from_another_website() -> bool:
    if request.origin is None or request.origin in services().settings.cors_origins:
        return False
    if fetched_from := request.headers.get("Sec-Fetch-Site"):
        return fetched_from != "same-origin"
    return request.origin != f"{request.scheme}://{request.host}"
