"""The errors of a Qdrant server: which of them are retried, and their messages for users."""

import re
from contextlib import suppress

import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from retrieval.errors import IndexUnreachable, IndexWriteFailed, LookalikeError
from retrieval.settings import Settings

REFUSED_KEYS = {
    401: "Qdrant refuses the key ({}).",
    403: "Qdrant refuses the key for this request: this key may not write ({}).",
}
BUSY = (429, 502, 503, 504)
# Qdrant answers 500 if a node is down that has the only copy of a shard, and if its disk is full.
NODE_DOWN = re.compile(r"Tonic status error|tcp connect error|service is currently unavailable", re.IGNORECASE)
DISK_FULL = re.compile(r"No space left on device|exceeds available disk space", re.IGNORECASE)
TOO_LARGE = re.compile(r"larger than.*limit|split your request", re.IGNORECASE)
NO_COLLECTION = re.compile(r"Collection `(.+)` doesn't exist")
RESTORE = (
    "Restore its snapshot, copy the index with `lookalike migrate --to server`, or index the photos again with "
    "`lookalike index`."
)


class RequestTooLarge(LookalikeError):
    """A request for more points than the server's rate limit allows at once; smaller ones may succeed."""


def retry_after(error: BaseException) -> float | None:
    """Return after how many seconds a server that limits the rate of requests accepts the request; None otherwise."""
    return float(error.retry_after_s) if isinstance(error, ResourceExhaustedResponse) else None


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, ResponseHandlingException):
        return isinstance(error.source, httpx.TransportError) and not isinstance(error.source, httpx.TimeoutException)
    if is_too_large(error):
        return False
    return isinstance(error, QdrantException) or _status(error) in BUSY or _is_node_down(error)


def is_too_large(error: BaseException) -> bool:
    """Whether a request exceeds a rate limit however long it waits."""
    return _status(error) == 429 and bool(TOO_LARGE.search(reason(error)))


def explained(error: Exception, failure: type[LookalikeError], settings: Settings) -> LookalikeError:
    """Return the error that a user sees; `failure` is its class if the server refuses the request for good."""
    cause = error.source if isinstance(error, ResponseHandlingException) else error
    if isinstance(cause, httpx.TransportError):
        return _unreachable(cause)
    if isinstance(cause, QdrantException) or _status(cause) in BUSY:
        return _busy(cause)
    if _is_node_down(cause):
        return _node_down(settings.qdrant_replicas)
    return _refusal(cause, failure)


def reason(error: BaseException) -> str:
    """Return the message of the server, or its status if there is none."""
    if not isinstance(error, UnexpectedResponse):
        return str(error)
    with suppress(ValueError, LookupError, TypeError):
        return f"status {error.status_code}: {error.structured()['status']['error']}"
    with suppress(UnicodeDecodeError):
        if error.content and len(text := error.content.decode()) < 200 and text.isprintable():
            return f"status {error.status_code}: {text}"
    return f"status {error.status_code} {error.reason_phrase}".strip()


def _unreachable(error: httpx.TransportError) -> IndexUnreachable:
    if isinstance(error, httpx.TimeoutException):
        return IndexUnreachable(
            "Qdrant did not answer in time.",
            "Check its load and its log, or raise LOOKALIKE_QDRANT_TIMEOUT_SECONDS or, for searches, "
            "LOOKALIKE_SEARCH_TIMEOUT_SECONDS.",
        )
    remedy = "Check LOOKALIKE_QDRANT_URL, and that the server runs."
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        remedy = "If its certificate is signed by a private authority, name that authority in LOOKALIKE_QDRANT_CA."
    return IndexUnreachable(f"Qdrant can't be reached ({error}).", remedy)


def _busy(error: Exception) -> LookalikeError:
    if is_too_large(error):
        return RequestTooLarge(
            f"Qdrant refuses a single point ({reason(error)}).", "Raise the rate limits of the collection."
        )
    if isinstance(error, ResourceExhaustedResponse):
        return IndexUnreachable(
            f"The Qdrant server limits the rate of requests ({reason(error)}).",
            f"Try again in {error.retry_after_s} s, or raise the rate limits of the collection.",
        )
    return IndexUnreachable(f"Qdrant is busy or starting ({reason(error)}).", "Try again in a moment.")


def _node_down(replicas: int) -> IndexUnreachable:
    if replicas == 1:
        message = (
            "A node of the cluster is down, and there is no other copy of its shards (LOOKALIKE_QDRANT_REPLICAS is 1)."
        )
    else:
        message = "Nodes of the cluster are down, and no other copy of some shards can be reached."
    return IndexUnreachable(message, "Start the node again; what it stored is kept.")


def _refusal(cause: Exception, failure: type[LookalikeError]) -> LookalikeError:
    status = _status(cause)
    if status in REFUSED_KEYS:
        return failure(REFUSED_KEYS[status].format(reason(cause)), "Correct LOOKALIKE_QDRANT_API_KEY.")
    if _is_disk_full(cause):
        return IndexWriteFailed(
            f"The disk of the Qdrant server is full ({reason(cause)}).",
            "Indexed photos are kept. Free disk space there, then run the same command again.",
        )
    if status == 404 and (collection := NO_COLLECTION.search(reason(cause))):
        return failure(f"The Qdrant server no longer has the collection {collection[1]}.", RESTORE)
    if isinstance(cause, UnexpectedResponse):
        return failure(f"Qdrant refused ({reason(cause)}).", "The server's log says more.")
    return failure("The server at LOOKALIKE_QDRANT_URL is not a Qdrant server.", "Correct it.")


def _is_node_down(error: BaseException) -> bool:
    return _status(error) == 500 and bool(NODE_DOWN.search(reason(error)))


def _is_disk_full(error: BaseException) -> bool:
    return _status(error) == 507 or (_status(error) == 500 and bool(DISK_FULL.search(reason(error))))


def _status(error: BaseException) -> int | None:
    return error.status_code if isinstance(error, UnexpectedResponse) else None
