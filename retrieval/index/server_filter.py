"""Filters and payload indexes in the terms of a Qdrant server."""

from qdrant_client import models

from retrieval.columns.kinds import Kind
from retrieval.index.conditions import (
    EARLIEST,
    AllOf,
    AnyOf,
    Condition,
    During,
    Exists,
    Near,
    Not,
    OneOf,
    StartsWith,
    Within,
)
from retrieval.index.filter import Filter
from retrieval.index.payload import ON_DISK

INDEX_TYPES: dict[Kind, models.PayloadSchemaType] = {
    "number": models.PayloadSchemaType.FLOAT,
    "date": models.PayloadSchemaType.DATETIME,
    "place": models.PayloadSchemaType.GEO,
}


def compiled(filter: Filter) -> models.Filter | None:
    """Return a filter as Qdrant understands it; None matches every point."""
    return models.Filter(must=[_compiled(condition) for condition in filter.conditions]) if filter else None


def payload_index(field: str, kind: Kind, *, prefix: bool) -> models.PayloadSchemaType | models.KeywordIndexParams:
    """Return the description of the payload index of a field; `prefix` is whether the server finds texts by prefix."""
    keyword = models.KeywordIndexParams(
        type=models.KeywordIndexType.KEYWORD, on_disk=field in ON_DISK or None, prefix=prefix or None
    )
    return INDEX_TYPES.get(kind, keyword)


def _compiled(condition: Condition) -> models.Filter | models.FieldCondition:  # noqa: PLR0911 - one for each condition
    match condition:
        case AllOf(conditions):
            return models.Filter(must=[_compiled(each) for each in conditions])
        case AnyOf(conditions):
            return models.Filter(should=[_compiled(each) for each in conditions])
        case Not(inner):
            return models.Filter(must_not=[_compiled(inner)])
        case Exists(field) if field.kind == "date":
            return _compiled(During(field, gte=EARLIEST))
        case Exists(field):
            empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=field.key))
            return models.Filter(must_not=[empty])
        case OneOf(field, texts):
            return models.FieldCondition(key=field.key, match=models.MatchAny(any=list(texts)))
        case StartsWith(field, prefix):
            return models.FieldCondition(key=field.key, match=models.MatchPrefix(prefix=prefix))
        case Within(field, gte, gt, lte, lt):
            return models.FieldCondition(key=field.key, range=models.Range(gte=gte, gt=gt, lte=lte, lt=lt))
        case During(field, gte, gt, lte, lt):
            return models.FieldCondition(key=field.key, range=models.DatetimeRange(gte=gte, gt=gt, lte=lte, lt=lt))
        case Near(field, latitude, longitude, km):
            centre = models.GeoPoint(lat=latitude, lon=longitude)
            return models.FieldCondition(key=field.key, geo_radius=models.GeoRadius(center=centre, radius=1000 * km))
    raise TypeError(f"unknown condition {condition!r}")
