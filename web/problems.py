"""Every error as an RFC 9457 problem document, or as a page where a browser asks for one."""

import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from apiflask import APIFlask
from flask import Response, current_app, g, json, render_template, request
from pydantic import BaseModel, Field
from werkzeug.exceptions import HTTPException

from retrieval.errors import (
    BadBundle,
    BadQuery,
    BadSource,
    IndexBusy,
    IndexMismatch,
    JobRunning,
    LookalikeError,
    NotFound,
    UnreadablePhoto,
    WorseModel,
)
from web.security import ForeignHost
from web.services import services
from web.validation import InvalidRequest

MEDIA_TYPE = "application/problem+json"
MOST_UNREAD = 200_000_000  # bytes of a refused upload

log = logging.getLogger("lookalike")

STATUS_OF = {
    NotFound: 404,
    UnreadablePhoto: 422,
    BadQuery: 422,
    BadSource: 422,
    ForeignHost: 400,
    IndexBusy: 409,
    IndexMismatch: 409,
    JobRunning: 409,
    BadBundle: 409,
    WorseModel: 409,
}

REMEDIES = {
    400: "Check the request's form; /api/docs describes each call.",
    401: "Send the key as `Authorization: Bearer KEY`, or as the password where a browser asks for one.",
    403: "Ask whoever runs this server.",
    404: "Check the address; /api/docs lists those there are.",
    405: "Use one of the methods that the Allow header names; /api/docs lists them.",
    415: "Send multipart/form-data with a file `image`, or application/json.",
    422: "Correct what is named here; /api/docs says what each field takes.",
    429: "Ask again when the Retry-After header says.",
    500: "Try again; if it stays, the server's log says more.",
    503: "Try again in a while; the server's log says more.",
}


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="its name; empty for the request as a whole")
    message: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field("about:blank", description="a URI that names the kind of problem")
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what is wrong, in a sentence")
    remedy: str = Field("", description="what to do about it")
    errors: list[FieldError] = Field([], description="the wrong fields, where fields are wrong")
    request_id: str = Field("", description="by which the server's log names the request")


def register(app: APIFlask) -> None:
    """Answer every error of the application this way."""
    app.register_error_handler(LookalikeError, _of_ours)
    app.register_error_handler(InvalidRequest, _of_fields)
    app.register_error_handler(HTTPException, _of_http)


def _of_ours(error: LookalikeError) -> Response:
    status = STATUS_OF.get(type(error), 503)
    if status == 503:
        log.warning("%s", error)
    return _answer(Problem(**_status(status), detail=error.message, remedy=error.remedy or REMEDIES[status]))


def _of_fields(error: InvalidRequest) -> Response:
    detail = "; ".join(": ".join(filter(None, (wrong["field"], wrong["message"]))) for wrong in error.errors) + "."
    fields = [FieldError(**wrong) for wrong in error.errors]
    return _answer(Problem(**_status(error.status), detail=detail, remedy=REMEDIES[error.status], errors=fields))


def _of_http(error: HTTPException) -> Response:
    code = error.code or 500
    detail, remedy = str(error.description), REMEDIES.get(code, "")
    if code == 429:
        detail = f"More than {detail} are too many."
    if code == 413:
        detail, remedy = _too_large()
        _read_the_rest()
    answer = _answer(Problem(**_status(code), detail=detail, remedy=remedy))
    answer.headers.extend((name, value) for name, value in error.get_headers() if name not in ("Content-Type",))
    return answer


def _too_large() -> tuple[str, str]:
    """The two ways in which a request may be too large: its length, and the number of a form's parts."""
    limit = current_app.config["MAX_CONTENT_LENGTH"]
    if request.content_length is not None and request.content_length <= limit:
        return f"The form has more than {request.max_form_parts} parts.", "Send the photo and the options, once each."
    return (
        f"The upload is larger than {limit // 1_000_000} MB.",
        "Send a smaller photo, or raise LOOKALIKE_MAX_UPLOAD_MB.",
    )


def _read_the_rest() -> None:
    """Take what is still being sent, up to a bound: most clients read an answer only after their last byte."""
    stream, left = request.environ["wsgi.input"], MOST_UNREAD
    with suppress(OSError):  # the client went away, or fell silent
        while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
            left -= len(chunk)


def _status(code: int) -> dict[str, Any]:
    return {"status": code, "title": HTTPStatus(code).phrase, "request_id": g.request_id}


def _answer(problem: Problem) -> Response:
    if _wants_page():
        page = render_template("problem.html", problem=problem, max_upload_mb=services().settings.max_upload_mb)
        return Response(page, problem.status, mimetype="text/html")
    body = json.dumps(problem.model_dump(exclude_defaults=False))
    return Response(body, problem.status, mimetype=MEDIA_TYPE)


def _wants_page() -> bool:
    """Whether a browser asked for a page; the API answers in JSON whoever asks."""
    accepts_html = request.accept_mimetypes.best_match([MEDIA_TYPE, "application/json", "text/html"]) == "text/html"
    return accepts_html and not request.path.startswith("/api/")
