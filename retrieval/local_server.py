"""Requests to the server of this home that has the embedded indexes open, for commands that need them."""

from typing import Any

import httpx

from retrieval.api_keys import Scope, load_keys
from retrieval.errors import LookalikeError
from retrieval.settings import Settings

API = "/api/v1"
REQUEST_SECONDS = 120


def ask(
    settings: Settings, address: str, method: str, path: str, *, scope: Scope, params: dict[str, Any] | None = None
) -> httpx.Response:
    """Send a request to the API of the server at an address, which uses the same home; return its response.

    Args:
        scope: what the request needs; a key of it is sent if the settings have one.

    Raises:
        LookalikeError: the server refused, or does not respond; the message says why.
    """
    with httpx.Client(base_url=address, headers=_authorization(settings, scope), trust_env=False) as client:
        try:
            response = client.request(method, f"{API}{path}", params=params, timeout=REQUEST_SECONDS)
        except httpx.HTTPError as error:
            raise LookalikeError(
                f"The server at {address}, which has the index open, does not respond ({error}).",
                "Run the command again, or stop the server first.",
            ) from None
    if response.is_error:
        raise _refusal(response, address)
    return response


def _authorization(settings: Settings, scope: Scope) -> dict[str, str]:
    """Return the header with a key of a scope; empty if there is none, and the server may refuse."""
    secrets = (key.secret for key in load_keys(settings) if key.scope >= scope)
    return {"Authorization": f"Bearer {secret}"} if (secret := next(secrets, None)) else {}


def _refusal(response: httpx.Response, address: str) -> LookalikeError:
    """Return the error of a response, a problem document (RFC 9457)."""
    try:
        problem = response.json()
        return LookalikeError(problem["detail"], problem.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        return LookalikeError(f"{address}, which has the index open, refused with status {response.status_code}.")
