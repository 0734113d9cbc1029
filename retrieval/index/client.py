"""Requests to a Qdrant server: retried while it is busy, with errors that a user understands."""

import ssl
import warnings
from collections.abc import Callable
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import TypeVar

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_chain, wait_fixed

from retrieval.errors import IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.index.retries import pauses
from retrieval.settings import Settings

BUSY = (429, 502, 503, 504)
UNAUTHORIZED = (401, 403)
FULL = 507

Result = TypeVar("Result")


def connect(settings: Settings) -> QdrantClient:
    """Return a client of the settings' server, which is not contacted yet; this takes 50 ms of processor time.

    Raises `LookalikeError` if the file of its certificate authority can't be used.
    """
    key = settings.qdrant_api_key
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # docs/operations.md says it
        return QdrantClient(
            url=settings.qdrant_url,
            api_key=key.get_secret_value() if key else None,
            timeout=settings.qdrant_timeout_seconds,
            check_compatibility=False,
            verify=_trusted(settings.qdrant_ca),
        )


def require_ready(client: QdrantClient) -> None:
    """Raise `IndexUnreachable` if the server can't be reached, or is not ready."""
    with_retries(lambda: _require_ready(client))


def with_retries(request: Callable[[], Result], failure: type[LookalikeError] = LookalikeError) -> Result:
    """Return the result of a request, which is retried while the server is busy, starting or unavailable.

    `retrieval.index.retries` says how often and after which pauses.

    Requests are idempotent: a point that is written or removed twice is written or removed once.

    Raises:
        IndexUnreachable: the server does not respond, or is still busy after the last attempt.
        IndexWriteFailed: its disk is full.
        LookalikeError: it refuses the request; as `failure`.
    """
    waits = pauses()
    attempts = Retrying(
        retry=retry_if_exception(_is_transient),
        wait=wait_chain(*map(wait_fixed, waits)),
        stop=stop_after_attempt(1 + len(waits)),
        reraise=True,
    )
    try:
        return attempts(request)
    except (ApiException, QdrantException, JSONDecodeError) as error:
        raise _explained(error, failure) from None


def _is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError) and not isinstance(error.source, httpx.TimeoutException)
    return isinstance(error, QdrantException) or _status(error) in BUSY


def _explained(error: Exception, failure: type[LookalikeError]) -> LookalikeError:
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(cause, httpx.TimeoutException):
        return IndexUnreachable(
            "Qdrant did not answer in time.", "Check its load and its log, or raise LOOKALIKE_QDRANT_TIMEOUT_SECONDS."
        )
    if isinstance(cause, httpx.TransportError):
        return IndexUnreachable(
            f"Qdrant can't be reached ({cause}).", "Check LOOKALIKE_QDRANT_URL, and that the server runs."
        )
    if isinstance(cause, QdrantException) or _status(cause) in BUSY:
        return IndexUnreachable(f"Qdrant is busy or starting ({_reason(cause)}).", "Try again in a moment.")
    return _refusal(cause, failure)


def _refusal(cause: Exception, failure: type[LookalikeError]) -> LookalikeError:
    if _status(cause) in UNAUTHORIZED:
        return failure(f"Qdrant refuses the key ({_reason(cause)}).", "Correct LOOKALIKE_QDRANT_API_KEY.")
    if _status(cause) == FULL:
        return IndexWriteFailed(
            f"The disk of the Qdrant server is full ({_reason(cause)}).",
            "Indexed photos are kept. Free disk space there, then run the same command again.",
        )
    if isinstance(cause, UnexpectedResponse):
        return failure(f"Qdrant refused ({_reason(cause)}).", "The server's log says more.")
    return failure("What answers at LOOKALIKE_QDRANT_URL is no Qdrant server.", "Correct it.")


def _status(error: BaseException) -> int | None:
    return error.status_code if isinstance(error, UnexpectedResponse) else None


def _reason(error: Exception) -> str:
    """The message of the server, or its status if there is none."""
    if not isinstance(error, UnexpectedResponse):
        return str(error)
    with suppress(ValueError, LookupError, TypeError):
        return f"status {error.status_code}: {error.structured()['status']['error']}"
    return f"status {error.status_code} {error.reason_phrase}".strip()


def _require_ready(client: QdrantClient) -> None:
    # A ready server responds in plain text, which the client can't parse; a client in memory has no REST interface.
    with suppress(JSONDecodeError, NotImplementedError):
        client.http.service_api.readyz()


def _trusted(authority: Path | None) -> ssl.SSLContext | bool:
    """How to verify a server's certificate: by the given certificate authority, or by those of the system."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # SSLError is one
        raise LookalikeError(
            f"The certificate authority {authority} can't be used ({error.strerror or error}).",
            "Point LOOKALIKE_QDRANT_CA to a PEM file.",
        ) from None
