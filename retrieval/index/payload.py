"""The payload: what the index stores of a photo beside its vector.

A new field is added to `Payload`, and to `INDEXED_FIELDS` if searches filter by it; both engines follow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from retrieval.errors import IndexUnreadable


class FieldType(StrEnum):
    """The type of a payload index, by its name in Qdrant."""

    KEYWORD = "keyword"


INDEXED_FIELDS = {"label": FieldType.KEYWORD}


@dataclass(frozen=True, slots=True)
class Payload:
    """What is known of a photo.

    Args:
        uri: its canonical URI.
        label: its class, or None.
        sha256: of its file, in hex.
        width, height: in pixels, upright.
        bytes: the size of its file.
        modified_at: when its file was last modified; ISO 8601 in UTC.
        indexed_at: when it was indexed; ISO 8601 in UTC.
        etag: its version in a remote store, or None.
        extra: the other columns of its manifest.
    """

    uri: str
    label: str | None
    sha256: str
    width: int
    height: int
    bytes: int
    modified_at: str
    indexed_at: str
    etag: str | None = None
    extra: dict[str, str | int | float | bool] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the payload as JSON types, without the fields that are None or empty."""
        return {key: value for key, value in asdict(self).items() if value is not None and value != {}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Payload":
        """Return the payload of a stored point; raises `IndexUnreadable` if it is damaged."""
        try:
            return cls(**{"label": None, **(values or {})})
        except TypeError as error:
            raise IndexUnreadable(
                f"The index holds a photo whose payload is damaged ({error}).",
                "Remove this index with `lookalike models remove`, and index the photos again.",
            ) from None
