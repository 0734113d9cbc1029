"""The payload: what the index stores of a photo beside its vector.

A new field is added to `Payload`, and to `INDEXED_FIELDS` if searches filter by it; both engines follow.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from retrieval.errors import IndexUnreadable
from retrieval.photo_ref import Extra

INDEXED_FIELDS = {"label": "keyword"}  # and the type of each payload index, by its name in Qdrant


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
