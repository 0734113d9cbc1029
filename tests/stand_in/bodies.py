"""The bodies of requests, checked in the order and with the messages of the server."""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from stand_in.answers import Refusal, format_error

LIMITS = ("limit", "offset", "group_size")
RANGE_KEYS = {"gt", "gte", "lt", "lte"}

Body = TypeVar("Body", bound=BaseModel)


def parsed(kind: type[Body], data: bytes) -> Body:
    """The body of a request as a model of the client."""
    try:
        content = json.loads(data)
    except ValueError as error:
        raise format_error(str(error)) from None
    if not isinstance(content, dict):
        raise format_error(f"invalid type: sequence, expected struct {kind.__name__}")
    for found in _objects(content):
        _check_numbers(found)
        _check_dates(found)
    for point in content.get("points", ()):
        _check_id(point["id"] if isinstance(point, dict) else point)
    if content.get("limit") == 0:
        raise Refusal(422, "Validation error in JSON body: [internal.limit: value 0 invalid, must be 1 or larger]")
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise format_error(error.errors()[0]["msg"]) from None


def check_sizes(content: bytes) -> None:
    """Refuse vectors of no length."""
    vectors = json.loads(content).get("vectors") or {}
    if any(found.get("size") == 0 for found in _objects(vectors)):
        raise format_error("data did not match any variant of untagged enum VectorsConfig")


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object within a value, payloads excluded."""
    if isinstance(value, dict):
        yield value
        for key, inner in value.items():
            if key not in ("payload", "metadata"):
                yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict | list):
                yield from _objects(inner)


def _check_numbers(found: dict[str, Any]) -> None:
    for name in LIMITS:
        if isinstance(value := found.get(name), int) and value < 0:
            raise format_error(f"invalid value: integer `{value}`, expected usize")


def _check_dates(found: dict[str, Any]) -> None:
    limits = found.get("range")
    for value in limits.values() if isinstance(limits, dict) else ():
        if isinstance(value, str) and not _is_date(value):
            raise format_error(
                f"'{value}' does not match accepted datetime format (RFC3339). Example: 2014-01-01T00:00:00Z"
            )


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _check_id(point: Any) -> None:
    if isinstance(point, int) and point >= 0:
        return
    try:
        UUID(str(point))
    except ValueError:
        raise format_error(
            f"value {point} is not a valid point ID, valid values are either an unsigned integer or a UUID"
        ) from None


def is_id(text: str) -> bool:
    """Whether a part of a path may be the id of a point."""
    return text.isdecimal() or bool(re.fullmatch(r"[0-9a-fA-F-]{32,36}", text))
