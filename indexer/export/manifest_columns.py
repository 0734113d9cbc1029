"""The columns of manifests in an export: their types, and the values of photos in these types."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from indexer.export.table import Column, Type
from retrieval.columns.evidence import ColumnEvidence
from retrieval.columns.kinds import FLAGS, Kind, stored
from retrieval.columns.schema import ColumnSchema
from retrieval.photo_ref import Extra, Scalar, Value

TYPES: Mapping[Kind, Type] = {"number": "number", "flag": "flag"}  # other kinds are text


def manifest_columns(schema: ColumnSchema | None, photos: Iterable[Extra]) -> dict[str, Column]:
    """Return the columns of manifests by their names, in this order.

    Args:
        schema: of the index; None if an older version wrote it.
        photos: their values, which show what columns have lists, and the kinds of columns that the schema lacks.
    """
    known = {} if schema is None else schema.kinds
    evidence, names, with_lists = ColumnEvidence(), set[str](), set[str]()
    for extra in photos:
        if not extra.keys() <= known.keys():
            evidence.see({name: value for name, value in extra.items() if name not in known})
            names.update(extra)
        with_lists.update(name for name, value in extra.items() if isinstance(value, list))
    kinds = {**evidence.kinds(), **known}
    types = {name: TYPES.get(kinds.get(name, "text"), "text") for name in sorted(names | kinds.keys())}
    return {name: Column(name, type, has_lists=name in with_lists) for name, type in types.items()}


def typed_values(values: Sequence[Value | None], type: Type) -> list[Any]:
    """Return the values of photos in a column, or lists of them; those of another type stay as they were given."""
    match type:
        case "number":
            return [value if value is None or isinstance(value, float) else _each(_number, value) for value in values]
        case "flag":
            return [value if value is None or isinstance(value, bool) else _each(_flag, value) for value in values]
        case _:
            return [value if value is None or isinstance(value, str) else _each(_text, value) for value in values]


def _each(convert: Any, value: Value) -> Any:
    return [convert(one) for one in value] if isinstance(value, list) else convert(value)


def _number(value: Scalar) -> Scalar:
    """A number; integers stay integers, since a float has only 15 digits."""
    if not isinstance(value, str) or (number := stored(value, "number")) is None:
        return value
    try:
        return int(value)
    except ValueError:
        return number  # type: ignore[return-value]


def _flag(value: Scalar) -> Scalar:
    return FLAGS.get(str(stored(value, "flag")), value)


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)
