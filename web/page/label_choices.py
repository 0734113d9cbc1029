"""The labels that a search can be narrowed to, few enough to show however many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A label to filter by, how many photos carry it, and whether it is chosen."""

    name: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class LabelChoices:
    """The labels to show, out of how many; a search box helps where not all are shown."""

    shown: list[LabelChoice]
    matching: int
    total: int

    @property
    def searchable(self) -> bool:
        """Whether there are more than one wants to read through."""
        return self.total > MOST_SHOWN


def choose_labels(counts: Mapping[str, int], chosen: Sequence[str], find: str) -> LabelChoices:
    """The chosen labels first where not all can be shown, then the most frequent of those that match.

    Args:
        counts: every label with its photos, the most frequent first.
        chosen: labels that the search is narrowed to.
        find: a part of the wanted labels' names, in any case; empty: any.
    """
    sought = find.strip().casefold()
    matching = [name for name in counts if sought in name.casefold()] if sought else list(counts)
    if len(counts) > MOST_SHOWN:
        matching = [*chosen, *(name for name in matching if name not in chosen)]
    shown = [
        LabelChoice(name, counts.get(name, 0), name in chosen) for name in matching[: max(MOST_SHOWN, len(chosen))]
    ]
    return LabelChoices(shown, len(matching), len(counts))
