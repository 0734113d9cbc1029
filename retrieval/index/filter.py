"""Which photos a search may find.

Command line, API and page make a `Filter`; each engine compiles it to its own (`retrieval.index.edge_filter` and
`retrieval.index.server_filter`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain

from retrieval.index.conditions import AllOf, Condition, Field, OneOf
from retrieval.index.payload import Payload
from retrieval.labels import forms

LABEL = Field("label", "text")


@dataclass(frozen=True, slots=True)
class Filter:
    """The photos that a search may find; a filter without conditions is false and matches every photo."""

    labels: tuple[str, ...] = ()  # only photos with one of these labels; empty: all photos
    where: Condition | None = None  # a further condition; None: all photos

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def matches(self, photo: Payload) -> bool:
        """Whether a photo satisfies every condition."""
        return all(condition.matches(photo) for condition in self.conditions)

    @property
    def conditions(self) -> list[Condition]:
        """The conditions that a photo has to satisfy."""
        labels: list[Condition] = [labelled(self.labels)] if self.labels else []
        return labels if self.where is None else [*labels, self.where]

    def narrowed(self, condition: Condition) -> "Filter":
        """Return a filter that also demands a condition."""
        return replace(self, where=condition if self.where is None else AllOf((self.where, condition)))

    def parts(self) -> Iterator[Condition]:
        """Yield the conditions and those within them."""
        return chain.from_iterable(condition.parts() for condition in self.conditions)


def labelled(labels: tuple[str, ...]) -> OneOf:
    """The condition that a photo has one of these labels, in all forms in which an index may hold them."""
    return OneOf(LABEL, tuple(form for label in labels for form in forms(label)))


NO_FILTER = Filter()
