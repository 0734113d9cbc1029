"""The payload: what the index stores of a photo beside its vector.

A new field is added to `Payload`, and to `INDEXED_FIELDS` if searches filter by it; both engines follow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from retrieval.columns.kinds import Columns, Kind
from retrieval.errors import IndexUnreadable
from retrieval.index.ranks import current_ranks, sort_texts
from retrieval.photo_ref import Extra

COLUMNS = "columns"  # the field with the values for filters
INDEXED_FIELDS: dict[str, Kind] = {  # and what they hold, by their names in Qdrant; columns are in `ColumnSchema`
    "label": "text",
    "uri": "text",
    "bytes": "number",
    "modified_at": "date",
    "columns.taken": "date",
    "columns.camera": "text",
    "columns.orientation": "text",
    "columns.place": "place",
}
ON_DISK = frozenset({"uri"})  # fields with another value for each photo, which would take much memory
LISTS = ("sources", "also_at")

RemovedBy = Literal["sync", "person", "replaced"]  # replaced: another photo is in its place; until the job ends


@dataclass(frozen=True, slots=True)
class Payload:
    """What is known of a photo."""

    uri: str  # canonical
    label: str | None
    sha256: str  # of its file, in hex
    width: int  # in pixels, upright
    height: int  # in pixels, upright
    bytes: int  # the size of its file
    modified_at: str  # when its file was last modified; ISO 8601 in UTC
    indexed_at: str  # ISO 8601 in UTC
    etag: str | None = None  # its version in a remote store
    extra: Extra = field(default_factory=dict)  # the other columns of its manifest
    sources: tuple[str, ...] = ()  # URIs of the folders and manifests that named it; empty if written before 0.2
    also_at: tuple[str, ...] = ()  # further URIs of the same file: hard links, symbolic links, bind mounts
    decoder: int | None = None  # the version of the decoder that made the embedding; None: the first
    removed_at: str | None = None  # when it was removed from the index; ISO 8601 in UTC
    removed_by: RemovedBy | None = None
    successor: dict[str, Any] = field(default_factory=dict)  # what the source says about the photo that replaced it
    columns: Columns = field(default_factory=dict)  # what filters compare, by `retrieval.columns.schema`; set by jobs
    confirmed: bool = False  # whether a person has confirmed the label
    ranks: dict[str, int] = field(default_factory=dict)  # with their checksums, by `retrieval.index.ranks`; set by jobs

    def as_dict(self) -> dict[str, Any]:
        """Return the payload as JSON types, without the fields that are None, False or empty, and outdated ranks."""
        values = {name: getattr(self, name) for name in NAMES}
        values |= {name: [*values[name]] for name in LISTS}
        if self.ranks:
            values["ranks"] = current_ranks(self.ranks, self.sort_texts())
        return {key: value for key, value in values.items() if value not in (None, {}, []) and value is not False}

    def sort_texts(self) -> dict[str, str]:
        """Return the texts by which the photo is sorted, by the names of the orders."""
        return sort_texts(self.uri, self.label)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Payload":
        """Return the payload of a stored point; raises `IndexUnreadable` if it is damaged."""
        try:
            lists = {name: tuple(values[name]) for name in LISTS if values and name in values}
            return cls(**{"label": None, **(values or {}), **lists})
        except TypeError as error:
            raise IndexUnreadable(
                f"A photo's payload is damaged ({error}).",
                "Remove this index with `lookalike models remove`, and index the photos again.",
            ) from None


NAMES = tuple(one.name for one in fields(Payload))
ALL_NAMES = frozenset(NAMES)
NEEDED = frozenset({"uri", "sha256", "width", "height", "bytes", "modified_at", "indexed_at"})


def checked(values: dict[str, Any]) -> dict[str, Any]:
    """Return the payload of a stored point as it is stored; raises `IndexUnreadable` if it is damaged."""
    if not NEEDED <= values.keys() <= ALL_NAMES:
        Payload.from_dict(values)
    return values
