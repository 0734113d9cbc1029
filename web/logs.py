"""One log line a request, as text or as JSON."""

import json
import logging
import time
from typing import Any

from flask import Flask, Response, g, request

from retrieval.settings import Settings

requests = logging.getLogger("lookalike.requests")


def configuration(settings: Settings) -> dict[str, Any]:
    """The `logging.config` dictionary for this process and for gunicorn: everything to standard error."""
    handler = {"class": "logging.StreamHandler", "formatter": "chosen"}
    formatter = JsonFormatter if settings.log_format == "json" else TextFormatter
    gunicorn = {"level": "WARNING", "handlers": ["stderr"], "filters": ["failures"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": {"()": formatter}},
        "filters": {"failures": {"()": FailuresOfOurs}},
        "handlers": {"stderr": handler},
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {"lookalike": {"level": "INFO"}, "gunicorn.error": gunicorn, "gunicorn.access": gunicorn},
    }


class FailuresOfOurs(logging.Filter):
    """Leaves out clients that fell silent, whose thread the socket's time limit has freed."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log a record."""
        return not (record.exc_info and isinstance(record.exc_info[1], BlockingIOError))


class TextFormatter(logging.Formatter):
    """`12:34:56 GET /api/v1/labels 200 3.1 ms`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a request's fields are keys of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)), "level": record.levelname}
        line |= record.args if isinstance(record.args, dict) else {"message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def register(app: Flask) -> None:
    """Log the application's requests, by path alone: a query string may hold a photo's embedding."""

    @app.before_request
    def start() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def log(response: Response) -> Response:
        took = round((time.perf_counter() - g.started) * 1000, 1)
        fields = {"method": request.method, "path": _one_line(request.path), "status": response.status_code, "ms": took}
        requests.info("%(method)s %(path)s %(status)s %(ms)s ms", fields)
        return response


def _one_line(path: str) -> str:
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in path)
