"""The columns of an export, and the rows of an index in batches."""

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic_core import to_json

from indexer.map import load_map
from retrieval.bundle_format import Part
from retrieval.columns.kinds import FLAGS, Kind, stored
from retrieval.columns.schema import CAPTURED, ORIENTATION, ColumnSchema, read_schema
from retrieval.errors import NotFound
from retrieval.index import Payload, VectorIndex
from retrieval.index.base import StoredPoints
from retrieval.index.vectors import Vector
from retrieval.parts import KIND, LOOK
from retrieval.photo_ref import Value
from retrieval.settings import Settings

Type = Literal["text", "integer", "number", "flag", "vector"]
Values = (
    Sequence[Any] | npt.NDArray[np.float32]
)  # of a column: one for each photo; float32 [photos, length] for vectors

ROWS_AT_ONCE = 2000
OWN: Mapping[str, Type] = {
    "id": "text",
    "uri": "text",
    "label": "text",
    "width": "integer",
    "height": "integer",
    "bytes": "integer",
    "modified_at": "text",
    "taken": "text",
    "camera": "text",
    "orientation": "text",
    "place": "text",  # as "latitude,longitude", which `--column place:place` reads
}
FROM_FILE = (*CAPTURED, ORIENTATION)  # the own columns whose values are in `columns` of the payload
LAST: Mapping[str, Type] = {
    KIND: "vector",
    LOOK: "vector",
    "predicted_label": "text",
    "map_x": "number",
    "map_y": "number",
    "payload": "text",  # everything that the index stores of the photo, as JSON
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an export; `length` is that of a vector, 0 if the model has no such part."""

    name: str
    type: Type
    length: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of some photos, by column, and their whole embeddings, float32 [photos, d]."""

    values: Mapping[str, Values]
    vectors: Vector


Predict = Callable[[uuid.UUID, Vector], str | None]
NOTHING: Mapping[str, Any] = {}


class StoredColumns:
    """The columns of what the index stores of photos, without their embeddings.

    Args:
        schema: of the index; None if an older version wrote it.
        photos: from which the types of columns are found if there is no schema.
        hidden: the names of columns to leave out.
    """

    def __init__(
        self,
        schema: ColumnSchema | None,
        photos: Iterable[tuple[uuid.UUID, Payload]],
        hidden: Collection[str] = (),
    ) -> None:
        extra = _types_of_extra(photos) if schema is None else _types_of(schema)
        self._own = {name: type for name, type in OWN.items() if name not in hidden}
        self._extra = {name: type for name, type in extra.items() if name not in hidden}

    @property
    def types(self) -> dict[str, Type]:
        """The type of each column."""
        return {**self._own, **{_column_name(name): type for name, type in self._extra.items()}}

    def values(self, ids: Sequence[uuid.UUID], payloads: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """The values of photos, by column, of their payloads as they are stored (`Payload.as_dict`)."""
        from_file, extra = ([payload.get(part, NOTHING) for payload in payloads] for part in ("columns", "extra"))
        own = {name: [payload.get(name) for payload in payloads] for name in self._own if name not in FROM_FILE}
        captured = {name: [_captured(one.get(name)) for one in from_file] for name in self._own if name in FROM_FILE}
        of_manifest = {
            _column_name(name): _extra_values([one.get(name) for one in extra], type)
            for name, type in self._extra.items()
        }
        return {**own, **captured, **of_manifest, "id": [str(photo) for photo in ids]}


class Rows:
    """The rows of an index.

    Args:
        index: whose photos are exported, in the order of their ids.
        parts: of its embeddings.
        map: the positions of photos on the map, by id; empty if it was not computed.
        predict: returns the predicted label of a photo; None to leave the column empty.
    """

    def __init__(
        self,
        index: VectorIndex,
        parts: Sequence[Part],
        map: Mapping[uuid.UUID, tuple[float, float]],
        predict: Predict | None,
    ) -> None:
        self._index, self._parts, self._map, self._predict = index, parts, map, predict
        self._stored = StoredColumns(read_schema(index), index.scroll_payloads())
        lengths: dict[str, int] = {part.name: part.length for part in parts}
        types = {**self._stored.types, **LAST}
        self.columns = [Column(name, type, lengths.get(name, 0)) for name, type in types.items()]

    def __iter__(self) -> Iterator[Batch]:
        for points in self._index.scroll_stored(ROWS_AT_ONCE):
            if points.ids:
                yield self._batch(points)

    def _batch(self, points: StoredPoints) -> Batch:
        places = [self._map.get(photo, (None, None)) for photo in points.ids]
        nothing = [None] * len(points.ids)
        values: dict[str, Values] = {
            **self._stored.values(points.ids, points.payloads),
            **dict.fromkeys((KIND, LOOK), nothing),
            **self._split(points.vectors),
            "predicted_label": [*map(self._predict, points.ids, points.vectors)] if self._predict else nothing,
            "map_x": [x for x, _ in places],
            "map_y": [y for _, y in places],
            "payload": [to_json(payload).decode() for payload in points.payloads],  # a fifth of the time of `json`
        }
        return Batch(values, points.vectors)

    def _split(self, vectors: Vector) -> dict[str, Vector]:
        """The parts of embeddings, as they are stored."""
        ends = np.cumsum([part.length for part in self._parts])[:-1]
        return dict(zip((part.name for part in self._parts), np.split(vectors, ends, axis=1), strict=True))


def read_map(settings: Settings, model: str) -> dict[uuid.UUID, tuple[float, float]]:
    """Return the positions of photos on the map of a model, by id; empty if the map was not computed."""
    with suppress(NotFound):
        points = json.loads(load_map(settings, model))["points"]
        places = zip(points["id"], points["x"], points["y"], strict=True)
        return {uuid.UUID(photo): (x, y) for photo, x, y in places}
    return {}


def _column_name(name: str) -> str:
    """The name of a column of the manifest, which may be that of a column of the export."""
    return f"columns.{name}" if name in OWN or name in LAST else name


def _captured(value: Any) -> Any:
    return f"{value['lat']},{value['lon']}" if isinstance(value, dict) else value


def _types_of(schema: ColumnSchema) -> dict[str, Type]:
    """The types of the columns of manifests, by name."""
    types: Mapping[Kind, Type] = {"number": "number", "flag": "flag"}
    return {name: types.get(kind, "text") for name, kind in sorted(schema.kinds.items())}


def _types_of_extra(photos: Iterable[tuple[uuid.UUID, Payload]]) -> dict[str, Type]:
    """The same for an index without a schema; a column with values of several types is text."""
    found: dict[str, set[Type]] = {}
    for _, payload in photos:
        for name, value in payload.extra.items():
            found.setdefault(name, set()).add(_type_of(value))
    return {name: _common(types) for name, types in sorted(found.items())}


def _type_of(value: object) -> Type:
    if isinstance(value, bool):
        return "flag"
    if isinstance(value, int) and abs(value) < 2**63:
        return "integer"
    return "number" if isinstance(value, int | float) else "text"


def _common(types: set[Type]) -> Type:
    if len(types) == 1:
        return next(iter(types))
    return "number" if types == {"integer", "number"} else "text"


def _extra_values(values: list[Any], type: Type) -> list[Any]:
    match type:
        case "number":
            return [value if value is None or isinstance(value, float) else _number(value) for value in values]
        case "flag":
            return [value if value is None or isinstance(value, bool) else _flag(value) for value in values]
        case "text":
            return [_text(value) for value in values]
        case _:
            return values


def _number(value: Value) -> float | None:
    """A number; None for several, which a column of numbers can't hold."""
    number = stored(value, "number")
    return number if isinstance(number, float) else None


def _flag(value: Value) -> bool | None:
    return FLAGS.get(str(stored(value, "flag")))


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
