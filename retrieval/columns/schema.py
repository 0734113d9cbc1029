"""The columns of an index: the kind of each, saved with the index, and the values of a photo that filters compare."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Self

from pydantic import BaseModel, ValidationError

from retrieval.columns.evidence import MOST_COLUMNS
from retrieval.columns.kinds import KINDS, Columns, Kind, stored
from retrieval.index.base import VectorIndex
from retrieval.index.conditions import Field
from retrieval.index.payload import COLUMNS, Payload

VERSION = 1  # of the schema, and of the values that jobs store by it
NOTE = "columns"  # its name in the index
CAPTURED = ("taken", "camera", "place")  # values that come from the file, and are kept until it changes
ORIENTATION = "orientation"
PLACE = "place"


class ColumnSchema(BaseModel):
    """The kinds of the columns of manifests.

    The key under which a photo stores a value contains the kind, so that values of a former kind are never compared
    with those of the present one.
    """

    version: int = VERSION
    kinds: dict[str, Kind] = {}
    declared: dict[str, Kind] = {}  # by `--column`; values never change these kinds
    outdated: bool = False  # whether photos may have values of former kinds, which the next job replaces
    incomplete: bool = False  # whether photos may have further columns, which the next job adds

    @property
    def has_places(self) -> bool:
        """Whether the places of photos are stored: only if someone has asked for them."""
        return self.declared.get(PLACE) == "place"

    def merged(self, seen: Mapping[str, Kind], declared: Mapping[str, Kind]) -> Self:
        """Return the schema with further columns; a column that has been seen with two kinds is text.

        Args:
            seen: the kinds of columns in a manifest.
            declared: the kinds that a person has chosen.
        """
        all_declared = {**self.declared, **declared}
        kinds = dict(self.kinds)
        for name, kind in seen.items():
            if name in kinds:
                kinds[name] = kind if kinds[name] == kind else "text"
            elif len(kinds) < MOST_COLUMNS:
                kinds[name] = kind
        kinds |= {name: kind for name, kind in all_declared.items() if name in kinds}
        changed = any(kinds[name] != kind for name, kind in self.kinds.items())
        return self.model_copy(update={"kinds": kinds, "declared": all_declared, "outdated": self.outdated or changed})

    def field(self, name: str) -> Field:
        """Return the field of a column; raises `KeyError` if there is none."""
        kind = self.kinds[name]
        return Field(f"{COLUMNS}.{_key(name, kind)}", kind)

    def fields(self) -> dict[str, Kind]:
        """Return the fields of all columns with their kinds, for the payload indexes."""
        return {self.field(name).key: kind for name, kind in self.kinds.items()}

    def applied(self, photo: Payload) -> Payload:
        """Return the payload of a photo with the values that filters compare."""
        columns: Columns = {name: photo.columns[name] for name in CAPTURED if name in photo.columns}
        if not self.has_places:
            columns.pop(PLACE, None)
        if photo.width and photo.height:
            columns[ORIENTATION] = orientation(photo.width, photo.height)
        for name, value in photo.extra.items():
            kind = self.kinds.get(name)
            if kind is not None and (found := stored(value, kind)) is not None:
                columns[_key(name, kind)] = found
        return photo if columns == photo.columns else replace(photo, columns=columns)


def read_schema(index: VectorIndex) -> ColumnSchema | None:
    """Return the schema of an index; None if an older version wrote the index."""
    with suppress(ValidationError):
        schema = ColumnSchema.model_validate_json(index.note(NOTE) or "")
        return schema if schema.version == VERSION else None
    return None


def save_schema(index: VectorIndex, schema: ColumnSchema) -> None:
    """Save the schema with the index; raises `IndexWriteFailed` if that is not possible."""
    index.save_note(NOTE, schema.model_dump_json())


def kinds_of(photo: Payload) -> dict[str, Kind]:
    """Return the kinds of the columns of a photo, as the values tell that it stores for filters."""
    return {name: kind for name in photo.extra for kind in KINDS if _key(name, kind) in photo.columns}


def orientation(width: int, height: int) -> str:
    """Return the orientation of an upright photo."""
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"


def _key(name: str, kind: Kind) -> str:
    """Return the key of a column: of characters that need no quotes in a path of Qdrant."""
    plain = (chr(byte) if chr(byte).isalnum() and byte < 0x80 else f"-{byte:02x}" for byte in name.encode())
    return f"{kind}_{''.join(plain)}"
