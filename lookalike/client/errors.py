"""The errors of the client, made from the problem documents of the server (RFC 9457)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from retrieval.errors import LookalikeError


class ServerUnreachable(LookalikeError):
    """The server could not be reached, or is not a Lookalike server."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What a server says about a request that failed."""

    status: int
    detail: str  # what is wrong
    remedy: str = ""  # what to do about it
    type: str = "about:blank"  # the address of an explanation
    fields: Mapping[str, str] = field(default_factory=dict)  # what is wrong with each field
    request_id: str = ""  # identifies the request in the server's log


class ApiError(LookalikeError):
    """A request that the server refused or could not fulfil; there is a subclass for each frequent status.

    Args:
        problem: what the server says.
        retry_after: the seconds after which the server asks to try again; None if it does not say.
    """

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail, problem.remedy)
        self.problem = problem
        self.retry_after = retry_after


class Unauthorized(ApiError):
    """The key is missing or wrong (401)."""


class Forbidden(ApiError):
    """The server is read-only, or the scope of the key is too low (403)."""


class NotFound(ApiError):
    """A photo, label, model or job that does not exist (404)."""


class Conflict(ApiError):
    """Another job is running, or a model can't be activated (409)."""


class PhotoChanged(ApiError):
    """Somebody else has changed a photo meanwhile (412)."""


class TooLarge(ApiError):
    """An upload that is larger than the server accepts (413)."""


class InvalidRequest(ApiError):
    """A field is wrong; `problem.fields` names each (400, 422)."""


class UnreadablePhoto(InvalidRequest):
    """A photo that can't be decoded, or for which the model has no embedding (422)."""


class TooManyRequests(ApiError):
    """More requests than the server allows (429)."""


class Unavailable(ApiError):
    """The server, its index or its disk is unavailable (502, 503, 504)."""


BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PhotoChanged,
    413: TooLarge,
    422: InvalidRequest,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_of(status: int, document: Mapping[str, Any], retry_after: float | None = None) -> ApiError:
    """Return the error for a problem document, which is empty if the response contained none."""
    fields = {str(wrong["field"]): str(wrong["message"]) for wrong in document.get("errors", [])}
    problem = Problem(
        status,
        document.get("detail") or f"The server responded with the status {_phrase(status)}.",
        document.get("remedy", ""),
        document.get("type", "about:blank"),
        fields,
        document.get("request_id", ""),
    )
    is_unreadable = problem.type.endswith("#unreadable-photo")
    kind = UnreadablePhoto if is_unreadable else BY_STATUS.get(status, ApiError)
    return kind(problem, retry_after)


def _phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
