"""One log line per request, as text or as JSON, with the id of the request."""

import json
import logging
import re
import time
import uuid
from typing import Any

from flask import Flask, Response, g, has_request_context, request

from retrieval.photo_ref import display
from retrieval.settings import Settings

REQUEST_ID = "X-Request-ID"
PLAIN_WORD = re.compile(r"[A-Za-z0-9._-]{1,64}")

requests = logging.getLogger("lookalike.requests")

# Lines contain neither; determining them for each record takes a third of the time of logging a request.
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def configuration(settings: Settings) -> dict[str, Any]:
    """Return the `logging.config` dictionary for this process and gunicorn; everything goes to standard error."""
    handler = {"class": "logging.StreamHandler", "formatter": "chosen"}
    text = {"format": "%(asctime)s %(message)s", "datefmt": "%H:%M:%S"}
    gunicorn = {"level": "WARNING", "handlers": ["stderr"], "filters": ["failures"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": JsonFormatter} if settings.log_format == "json" else text},
        "filters": {"failures": {"()": NoTimeouts}},
        "handlers": {"stderr": handler},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"lookalike": {"level": "INFO"}, "gunicorn.error": gunicorn, "gunicorn.access": gunicorn},
    }


class NoTimeouts(logging.Filter):
    """Drops errors of connections whose client was silent for too long."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record."""
        return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))


class JsonFormatter(logging.Formatter):
    """One JSON object per line; the fields of a request are keys, and an error during a request has its id."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)), "level": record.levelname}
        if has_request_context() and "request_id" in g:
            line["request_id"] = g.request_id
        line |= record.args if isinstance(record.args, dict) else {"message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def register(app: Flask) -> None:
    """Log the application's requests with the names of their keys, but without their query strings.

    A query string may contain a photo's embedding, or the key of a login.

    The id of a request is its `X-Request-ID` if that is a plain word, and generated otherwise.
    """

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()
        given = request.headers.get(REQUEST_ID, "")
        g.request_id = given if PLAIN_WORD.fullmatch(given) else uuid.uuid4().hex

    @app.after_request
    def log(response: Response) -> Response:
        took = round((time.perf_counter() - g.started) * 1000, 1)
        fields = {
            "method": request.method,
            "path": display(request.path),
            "status": response.status_code,
            "ms": took,
            "request_id": g.request_id,
        }
        line = "%(method)s %(path)s %(status)s %(ms)s ms [%(request_id)s]"
        if key := g.get("key"):
            fields["key"] = key.name
            line += " %(key)s"
        requests.info(line, fields)
        response.headers[REQUEST_ID] = g.request_id
        return response
