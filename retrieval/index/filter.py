"""Which photos a search may find.

Command line, API and page make a `Filter`; each engine compiles it to its own (`_compiled` in `retrieval.index.edge`
and `retrieval.index.qdrant_server`).
"""

from dataclasses import dataclass

from retrieval.index.payload import Payload
from retrieval.labels import forms


@dataclass(frozen=True, slots=True)
class Filter:
    """The photos that a search may find; a filter without conditions is false and matches every photo."""

    labels: tuple[str, ...] = ()  # only photos with one of these labels; empty: all photos

    def __bool__(self) -> bool:
        return bool(self.labels)

    def matches(self, photo: Payload) -> bool:
        """Whether a photo satisfies every condition."""
        return not self.labels or photo.label in self.stored_labels

    @property
    def stored_labels(self) -> list[str]:
        """The labels in all forms in which an index may hold them."""
        return [form for label in self.labels for form in forms(label)]


NO_FILTER = Filter()
