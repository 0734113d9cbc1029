"""The columns of an index while a job runs: their kinds, their payload indexes, and the values that photos store."""

import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock

from indexer.batches import batches
from retrieval.columns.evidence import MOST_COLUMNS, PLURALS, ColumnEvidence
from retrieval.columns.kinds import KINDS, Kind, is_of_kind
from retrieval.columns.schema import PLACE, ColumnSchema, read_schema, save_schema
from retrieval.errors import BadQuery
from retrieval.index import Payload, VectorIndex
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.photo_ref import Extra, Value, display

WRITTEN_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class JobColumns:
    """What a job knows of the columns of its manifests: the kinds that it has seen, and those that a person chose."""

    seen: dict[str, Kind] = field(default_factory=dict)
    declared: dict[str, Kind] = field(default_factory=dict)


ColumnsSoFar = Callable[[], JobColumns]  # returns what is known of the columns of the photos that were listed so far


class IndexColumns:
    """The schema of an index, for the threads of a process; it learns new columns before photos with them are written.

    Raises `IndexWriteFailed` if the index can't be written.
    """

    def __init__(self, index: VectorIndex) -> None:
        self._index = index
        self._schema = read_schema(index) or ColumnSchema(incomplete=True)
        self._lock = Lock()
        self.asks_for_places = False

    def learn(self, columns: JobColumns) -> dict[str, Kind]:
        """Add the columns of a job to the schema, create their payload indexes, and return their kinds."""
        with self._lock:
            self.asks_for_places = columns.declared.get(PLACE) == "place"
            if self._schema.merged(columns.seen, columns.declared) != self._schema:
                self._schema = read_schema(self._index) or self._schema  # another process may have changed it
                self._merge(columns)
            return {name: kind for name, kind in self._schema.kinds.items() if name in columns.seen}

    def accept(self, values: Mapping[str, Value | None]) -> None:
        """Add the new columns of a single photo to the schema; None is no value.

        Raises `BadQuery` if a value is not of the kind of its column.
        """
        given = {name: value for name, value in values.items() if value is not None}
        for name, value in given.items():
            if name in self._schema.kinds and not is_of_kind(value, kind := self._schema.kinds[name]):
                raise BadQuery(
                    f"columns.{display(name)}: {display(json.dumps(value, ensure_ascii=False))} is no {kind}.",
                    f"This column holds {PLURALS[kind]}.",
                )
        self.learn_values(given)

    def learn_values(self, values: Extra) -> None:
        """Add the new columns of a single photo to the schema, with the kinds of these values."""
        with self._lock:
            if values.keys() <= self._schema.kinds.keys() or len(self._schema.kinds) >= MOST_COLUMNS:
                return
            self._schema = read_schema(self._index) or self._schema
            evidence = ColumnEvidence()
            evidence.see({name: value for name, value in values.items() if name not in self._schema.kinds})
            self._merge(JobColumns(evidence.kinds()))

    def applied(self, photo: Payload) -> Payload:
        """Return the payload of a photo with the values that filters compare."""
        return self._schema.applied(photo)

    def _merge(self, columns: JobColumns) -> None:
        merged = self._schema.merged(columns.seen, columns.declared)
        if merged != self._schema:
            self._schema = merged
            save_schema(self._index, merged)
            self._index.index_fields(merged.fields())


def declared_columns(texts: Iterable[str]) -> dict[str, Kind]:
    """Return the kinds of columns that are written as `NAME:KIND`; raises `BadQuery` if one is not."""
    declared: dict[str, Kind] = {}
    for text in texts:
        name, _, kind = text.rpartition(":")
        if not name or kind not in KINDS:
            raise BadQuery(
                f"{display(text)} is no column with its kind.", f"Write NAME:KIND; kinds are {', '.join(KINDS)}."
            )
        declared[name] = kind
    return declared


def upgrade_columns(index: VectorIndex) -> None:
    """Add columns to the schema that photos have and it lacks, and give all photos the values that filters compare.

    It may lack some if an older version wrote the index, or if photos were imported with their payloads. Called when a
    job starts, before payload indexes are created: photos that change afterwards leave the graph.
    """
    schema = read_schema(index) or ColumnSchema(incomplete=True)
    if not schema.incomplete:
        return
    evidence = ColumnEvidence()
    for _, photo in index.scroll_payloads():
        evidence.see(photo.extra)
    schema = schema.merged(evidence.kinds(), {})
    save_schema(index, schema.model_copy(update={"incomplete": False, "outdated": True}))
    renew_columns(index)


def renew_columns(index: VectorIndex) -> None:
    """Replace values of former kinds, if there may be any, and create missing payload indexes; at the end of a job."""
    schema = read_schema(index) or ColumnSchema()
    if schema.outdated:
        _apply(index, schema, index.scroll_payloads())
        save_schema(index, schema.model_copy(update={"outdated": False}))
    index.index_fields(INDEXED_FIELDS | schema.fields())


def copy_columns(source: VectorIndex, target: VectorIndex) -> None:
    """Give a copy of an index the schema of the original; without one, the next job gives it one."""
    schema = read_schema(source)
    if schema is not None and schema != read_schema(target):
        save_schema(target, schema)
    renew_columns(target)


def _apply(index: VectorIndex, schema: ColumnSchema, photos: Iterable[tuple[uuid.UUID, Payload]]) -> None:
    for some in batches(photos, WRITTEN_AT_ONCE):
        new = {photo: schema.applied(payload) for photo, payload in some}
        index.replace_payloads({photo: new[photo] for photo, payload in some if new[photo] != payload})
    index.flush()
