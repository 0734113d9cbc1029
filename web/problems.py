"""Errors as RFC 9457 problem documents, or as pages if a browser requests one."""

import logging
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from apiflask import APIFlask
from flask import Response, current_app, g, json, render_template, request, url_for
from werkzeug.exceptions import HTTPException

from retrieval import errors
from web.keys import sees_uris
from web.page.errors import texts
from web.saved_searches import NameInUse
from web.schemas.problems import FieldError, Problem
from web.security import ForeignHost
from web.services import services
from web.validation import InvalidRequest

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 5  # after the index was unavailable
MAX_UNREAD_BYTES = 200_000_000  # of a refused upload

log = logging.getLogger("lookalike")

STATUS_OF = {
    errors.NotFound: 404,
    errors.NoModel: 503,
    errors.UnreadablePhoto: 422,
    errors.BadQuery: 422,
    errors.BadSource: 422,
    ForeignHost: 400,
    errors.IndexBusy: 409,
    errors.IndexMismatch: 409,
    errors.JobRunning: 409,
    errors.PhotoChanged: 412,
    NameInUse: 409,
    errors.BadBundle: 409,
    errors.NotComparable: 409,
    errors.WorseModel: 409,
    errors.TrainingUnavailable: 409,
}

REMEDIES = {
    400: "Check the format of the request; /api/docs describes each operation.",
    401: "Sign in at /login, or send the key as `Authorization: Bearer KEY`.",
    403: "Contact the administrator of this server.",
    404: "Check the address; /api/docs lists all operations.",
    405: "Use one of the methods that the Allow header names; /api/docs lists them.",
    415: "Send multipart/form-data with a file `image`, or application/json.",
    422: "Correct the named fields; /api/docs describes each field.",
    429: "Try again after the time that the Retry-After header gives.",
    500: "Try again; if the error persists, see the server's log.",
    503: "Try again later; see the server's log for the cause.",
}


# The types of problems: the last part of their address, what they mean and their status. Errors that are not listed
# have the type about:blank.
PROBLEM_TYPES = {
    "not-found": ("A photo, label, model, job or saved search does not exist.", 404),
    "no-model": ("There is no model yet, or no photos have been indexed with it.", 503),
    "unreadable-photo": ("A file is not a photo, or it is damaged, too large or unavailable.", 422),
    "bad-query": ("A search has invalid parameters.", 422),
    "bad-source": ("A folder or manifest can't be listed, or has no photos.", 422),
    "invalid-request": ("A field is missing, unknown or wrong; `errors` names each.", 422),
    "foreign-host": ("The request names another server.", 400),
    "index-busy": ("Another process holds the index.", 409),
    "index-mismatch": ("The index does not fit the model.", 409),
    "job-running": ("Another job is running.", 409),
    "photo-changed": ("Somebody else has changed a photo meanwhile.", 412),
    "name-in-use": ("Another saved search has this name.", 409),
    "bad-bundle": ("A model bundle is missing, damaged or of another format version.", 409),
    "not-comparable": ("A model can't be compared with the current one, of which the bundle is damaged.", 409),
    "worse-model": ("The metrics of a model are worse than those of the current one.", 409),
    "training-unavailable": ("TensorFlow, which training needs, is not installed, and no worker can train.", 409),
    "worker-lost": ("The worker of a job is silent; start the job again.", 503),
    "index-write-failed": ("The index can't be written, probably because the disk is full.", 503),
    "index-unreadable": ("The index can't be read.", 503),
    "index-unreachable": ("The Qdrant server does not respond or is busy; try again.", 503),
}


def register(app: APIFlask) -> None:
    """Handle every error of the application."""
    app.register_error_handler(errors.LookalikeError, _handle_own)
    app.register_error_handler(InvalidRequest, _handle_invalid)
    app.register_error_handler(HTTPException, _handle_http)


def problem_of(error: errors.LookalikeError) -> Problem:
    """Return the problem document of an error, as the current request may see it."""
    status = STATUS_OF.get(type(error), 503)
    kind, remedy = _type_of(error), error.remedy or REMEDIES[status]
    return _shown(Problem(**_status(status), type=kind, detail=error.message, remedy=remedy), *error.uris)


def _handle_own(error: errors.LookalikeError) -> Response:
    problem = problem_of(error)
    if problem.status == 503:
        log.warning("%s", error)
    response = _respond(problem)
    if isinstance(error, errors.IndexUnreachable):
        response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return response


def _handle_invalid(error: InvalidRequest) -> Response:
    detail = "; ".join(": ".join(filter(None, (wrong["field"], wrong["message"]))) for wrong in error.errors) + "."
    fields = [FieldError(**wrong) for wrong in error.errors]
    status = _status(error.status)
    problem = Problem(**status, type=_type_of(error), detail=detail, remedy=REMEDIES[error.status], errors=fields)
    return _respond(_shown(problem))


def _handle_http(error: HTTPException) -> Response:
    code = error.code or 500
    detail, remedy = str(error.description), REMEDIES.get(code, "")
    if code == 429:
        detail = f"More than {detail} are not allowed."
    if code == 413:
        detail, remedy = _too_large()
        _discard_body()
    response = _respond(_shown(Problem(**_status(code), detail=detail, remedy=remedy)))
    response.headers.extend((name, value) for name, value in error.get_headers() if name not in ("Content-Type",))
    return response


def _too_large() -> tuple[str, str]:
    """Detail and remedy for a request that is too long, or whose form has too many parts."""
    limit = request.max_content_length or 0
    if request.content_length is not None and request.content_length <= limit:
        return f"The form has more than {request.max_form_parts} parts.", "Send the photo and each option once."
    return (
        f"The upload is larger than {limit // 1_000_000:,} MB.",
        "Send a smaller photo, or raise LOOKALIKE_MAX_UPLOAD_MB."
        if limit == current_app.config["MAX_CONTENT_LENGTH"]
        else "Name the bundle on the server: `lookalike index FOLDER --bundle BUNDLE`.",
    )


def _discard_body() -> None:
    """Read and discard the rest of the body, up to a limit: most clients read no response before they sent it all."""
    stream, left = request.environ["wsgi.input"], MAX_UNREAD_BYTES
    with suppress(OSError):  # the client has disconnected or is silent
        while left > 0 and (chunk := stream.read(min(left, 1 << 20))):
            left -= len(chunk)


def _status(code: int) -> dict[str, Any]:
    return {"status": code, "title": HTTPStatus(code).phrase, "request_id": g.request_id}


def _type_of(error: Exception) -> str:
    """Return the address of the type of problem of an error: `/api/docs#index-busy` for `IndexBusy`."""
    name = errors.kind_of(error)
    return url_for("docs.docs", _anchor=name) if name in PROBLEM_TYPES else "about:blank"


def _shown(problem: Problem, *uris: str) -> Problem:
    """Return a problem as the current request may see it; its texts may name photos with these URIs."""
    if sees_uris():
        return problem
    hide = services().shown_paths.without_folders
    hidden = {"detail": hide(problem.detail, *uris), "remedy": hide(problem.remedy, *uris)}
    return problem.model_copy(update=hidden)


def _respond(problem: Problem) -> Response:
    if accepts_page():
        kind = problem.type.rpartition("#")[2]
        title, detail, remedy = texts(problem.status, problem.detail, problem.remedy, kind)
        shown = problem.model_copy(update={"title": title, "detail": detail, "remedy": remedy})
        served = services()
        page = render_template(
            "problem.html",
            problem=shown,
            searchable=served.serving.model is not None,
            max_upload_mb=served.settings.max_upload_mb,
        )
        return Response(page, problem.status, mimetype="text/html")
    body = json.dumps(problem.model_dump(exclude_defaults=False))
    return Response(body, problem.status, mimetype=MEDIA_TYPE)


def accepts_page() -> bool:
    """Whether a browser requests a page; the API always returns JSON."""
    accepts_html = request.accept_mimetypes.best_match([MEDIA_TYPE, "application/json", "text/html"]) == "text/html"
    return accepts_html and not request.path.startswith("/api/")
