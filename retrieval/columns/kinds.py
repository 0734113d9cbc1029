"""The kinds of values: how a value of a manifest is classified, and how it is stored for filters."""

import json
import math
import re
from datetime import UTC, datetime
from typing import Literal, get_args

from retrieval.labels import composed
from retrieval.photo_ref import Scalar, Value

Kind = Literal["text", "number", "date", "flag", "place"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Place = dict[str, float]  # lat and lon, in degrees
Stored = str | float | Place  # flags are stored as the texts "true" and "false", and dates in ISO 8601 in UTC
Columns = dict[str, Stored | list[Stored]]

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)
CODE = re.compile(r"[+-]?0\d.*", re.ASCII)  # an article number or a post code: as a number, it would lose its zeros
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII)
FLAGS = {"true": True, "false": False}
FURTHER_FLAGS = {"yes": True, "no": False, "1": True, "0": False}  # of columns that are declared as flags
PLACE = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*[,; ]\s*([+-]?\d+(?:\.\d+)?)", re.ASCII)
DAY_LENGTH = 10  # of a date without a time


def classify(value: Scalar) -> Kind:
    """Return the kind of a single value; places are never inferred, since two numbers may be anything."""
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int | float):
        return "number"
    text = value.strip()
    if NUMBER.fullmatch(text) and not CODE.fullmatch(text):
        return "number"
    if text.lower() in FLAGS:
        return "flag"
    return "date" if parse_date(text) else "text"


def stored(value: Value, kind: Kind) -> Stored | list[Stored] | None:
    """Return a value of a manifest as filters compare it; None if it is not of this kind."""
    if not isinstance(value, list):
        return _stored(value, kind)
    values = [one for one in (_stored(each, kind) for each in value) if one is not None]
    return values or None


def is_of_kind(value: Value, kind: Kind) -> bool:
    """Whether a value, or each value of a list, is of a kind."""
    return all(_stored(one, kind) is not None for one in (value if isinstance(value, list) else [value]))


def parse_date(text: str) -> datetime | None:
    """Return a date, or a date and time, in ISO 8601 as UTC, which is also assumed without a zone; None if invalid."""
    if not DATE.fullmatch(text):
        return None
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def is_place(latitude: float, longitude: float) -> bool:
    """Whether there is such a place, in degrees."""
    return -90 <= latitude <= 90 and -180 <= longitude <= 180


def _stored(value: Scalar, kind: Kind) -> Stored | None:
    match kind:
        case "text":
            return composed(value if isinstance(value, str) else json.dumps(value)) or None
        case "number":
            return _number(value)
        case "flag":
            flag = (FLAGS | FURTHER_FLAGS).get(str(value).strip().lower())
            return None if flag is None else json.dumps(flag)
        case "date":
            date = parse_date(value.strip()) if isinstance(value, str) else None
            return None if date is None else date.isoformat()
        case "place":
            return _place(value) if isinstance(value, str) else None


def _number(value: Scalar) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        if not NUMBER.fullmatch(text):
            return None
        value = text
    number = float(value)
    return number if math.isfinite(number) and not isinstance(value, bool) else None


def _place(text: str) -> Place | None:
    found = PLACE.fullmatch(text.strip())
    if found is None or not is_place(latitude := float(found[1]), longitude := float(found[2])):
        return None
    return {"lat": latitude, "lon": longitude}
