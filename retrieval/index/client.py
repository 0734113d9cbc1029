"""How a Qdrant server is asked: again where it is busy, and what it refuses is told in a sentence."""

import ssl
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from json import JSONDecodeError
from pathlib import Path
from typing import TypeVar

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from retrieval.errors import IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.settings import Settings

PAUSES_SECONDS = (0.2, 0.5, 1.0, 2.0)
BUSY = (429, 502, 503, 504)
REFUSED_KEY = (401, 403)
FULL = 507

Result = TypeVar("Result")


def connect(settings: Settings) -> QdrantClient:
    """A client of the settings' server, once that is ready.

    Raises:
        IndexUnreachable: it is not, or it is not there.
        LookalikeError: the file of its certificate authority can't be used.
    """
    key = settings.qdrant_api_key
    warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # docs/operations.md says it
    client = QdrantClient(
        url=settings.qdrant_url,
        api_key=key.get_secret_value() if key else None,
        timeout=settings.qdrant_timeout_seconds,
        check_compatibility=False,
        verify=_trusted(settings.qdrant_ca),
    )
    ask(lambda: _ready(client))
    return client


def ask(
    request: Callable[[], Result], failure: type[LookalikeError] = LookalikeError, pauses: Sequence[float] | None = None
) -> Result:
    """The answer of the server; asked again, after each of the pauses, where it is busy, starting or away.

    Asking twice changes nothing: a point that is written or removed twice is written or removed once.

    Raises:
        IndexUnreachable: it does not answer, or not now.
        IndexWriteFailed: its disk is full.
        LookalikeError: it refuses; as `failure`.
    """
    pauses = PAUSES_SECONDS if pauses is None else pauses
    try:
        return request()
    except (ApiException, QdrantException, JSONDecodeError) as error:
        if not pauses or not _passes(error):
            raise _sentence(error, failure) from None
    time.sleep(pauses[0])
    return ask(request, failure, pauses[1:])


def _passes(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError) and not isinstance(error.source, httpx.TimeoutException)
    return isinstance(error, QdrantException) or _status(error) in BUSY


def _sentence(error: Exception, failure: type[LookalikeError]) -> LookalikeError:
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(cause, httpx.TimeoutException):
        return IndexUnreachable(
            "Qdrant did not answer in time.",
            "Look at its load and its log, or give it longer with LOOKALIKE_QDRANT_TIMEOUT_SECONDS.",
        )
    if isinstance(cause, httpx.TransportError):
        return IndexUnreachable(
            f"Qdrant can't be reached ({cause}).", "Check LOOKALIKE_QDRANT_URL, and that the server runs."
        )
    if isinstance(cause, QdrantException) or _status(cause) in BUSY:
        return IndexUnreachable(f"Qdrant is busy or starting ({_reason(cause)}).", "Try again in a moment.")
    return _refusal(cause, failure)


def _refusal(cause: Exception, failure: type[LookalikeError]) -> LookalikeError:
    if _status(cause) in REFUSED_KEY:
        return failure(f"Qdrant refuses the key ({_reason(cause)}).", "Correct LOOKALIKE_QDRANT_API_KEY.")
    if _status(cause) == FULL:
        return IndexWriteFailed(
            f"The Qdrant server has no room left ({_reason(cause)}).",
            "What is indexed is kept. Make room there, then run the same command again.",
        )
    if isinstance(cause, UnexpectedResponse):
        return failure(f"Qdrant refused ({_reason(cause)}).", "The server's log says more.")
    return failure("What answers at LOOKALIKE_QDRANT_URL is no Qdrant server.", "Correct it.")


def _status(error: Exception) -> int | None:
    return error.status_code if isinstance(error, UnexpectedResponse) else None


def _reason(error: Exception) -> str:
    """What the server said, or its status where it said nothing."""
    if not isinstance(error, UnexpectedResponse):
        return str(error)
    with suppress(ValueError, LookupError, TypeError):
        return f"status {error.status_code}: {error.structured()['status']['error']}"
    return f"status {error.status_code} {error.reason_phrase}".strip()


def _ready(client: QdrantClient) -> None:
    with suppress(JSONDecodeError):  # it says so in plain words, which the client takes for damaged JSON
        client.http.service_api.readyz()


def _trusted(authority: Path | None) -> ssl.SSLContext | bool:
    """What makes a server trusted: the given certificate authority, or those of the system."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # SSLError is one
        raise LookalikeError(
            f"The certificate authority {authority} can't be used ({error.strerror or error}).",
            "Point LOOKALIKE_QDRANT_CA to a PEM file.",
        ) from None
