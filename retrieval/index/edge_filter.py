"""Filters and payload indexes in the terms of Qdrant Edge."""

from typing import Any

import qdrant_edge as qdrant

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

INDEX_TYPES: dict[Kind, qdrant.PayloadSchemaType] = {
    "number": qdrant.PayloadSchemaType.Float,
    "date": qdrant.PayloadSchemaType.Datetime,
    "place": qdrant.PayloadSchemaType.Geo,
}


def compiled(filter: Filter) -> qdrant.Filter | None:
    """Return a filter as Edge understands it; None matches every point."""
    return qdrant.Filter(must=[_compiled(condition) for condition in filter.conditions]) if filter else None


def payload_index(field: str, kind: Kind) -> qdrant.UpdateOperation:
    """Return the operation that creates the payload index of a field."""
    keyword = qdrant.KeywordIndexParams(prefix=True, on_disk=field in ON_DISK)
    return qdrant.UpdateOperation.create_field_index(field, INDEX_TYPES.get(kind, keyword))


def kind_of(index: Any) -> Kind:
    """Return what a field holds, from the description of its payload index."""
    return next((kind for kind, type in INDEX_TYPES.items() if type == index.data_type), "text")


def _compiled(condition: Condition) -> qdrant.Filter | qdrant.FieldCondition:  # noqa: PLR0911 - one for each condition
    match condition:
        case AllOf(conditions):
            return qdrant.Filter(must=[_compiled(each) for each in conditions])
        case AnyOf(conditions):
            return qdrant.Filter(should=[_compiled(each) for each in conditions])
        case Not(inner):
            return qdrant.Filter(must_not=[_compiled(inner)])
        case Exists(field) if field.kind == "date":
            return _compiled(During(field, gte=EARLIEST))
        case Exists(field):
            return qdrant.Filter(must_not=[qdrant.IsEmptyCondition(field.key)])
        case OneOf(field, texts):
            return qdrant.FieldCondition(field.key, match=qdrant.MatchAny(list(texts)))
        case StartsWith(field, prefix):
            return qdrant.FieldCondition(field.key, match=qdrant.MatchPrefix(prefix))
        case Within(field, gte, gt, lte, lt):
            return qdrant.FieldCondition(field.key, range=qdrant.RangeFloat(gte, gt, lte, lt))
        case During(field):
            return qdrant.FieldCondition(field.key, range=qdrant.RangeDateTime(**condition.texts()))
        case Near(field, latitude, longitude, km):
            centre = qdrant.GeoPoint(lon=longitude, lat=latitude)
            return qdrant.FieldCondition(field.key, geo_radius=qdrant.GeoRadius(centre, 1000 * km))
    raise TypeError(f"unknown condition {condition!r}")
