"""The labels offered as filters: a limited number, however many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrieval.labels import composed

MAX_SHOWN = 20


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """A label to filter by, the number of photos that carry it, and whether it is selected."""

    name: str
    count: int
    chosen: bool


@dataclass(frozen=True, slots=True)
class LabelChoices:
    """The labels to show, the number of matching labels and of all labels."""

    shown: list[LabelChoice]
    matching: int
    total: int

    @property
    def searchable(self) -> bool:
        """Whether there are too many to show all of them, so that a search box is needed."""
        return self.total > MAX_SHOWN


def choose_labels(counts: Mapping[str, int], chosen: Sequence[str], find: str) -> LabelChoices:
    """Select the most frequent labels that match, preceded by the chosen ones if not all labels can be shown.

    Args:
        counts: the number of photos of each label, most frequent first.
        chosen: the labels that the search is filtered by.
        find: a part of a label's name, case-insensitive; empty: all labels.
    """
    text = composed(find).casefold()
    matching = [name for name in counts if text in name.casefold()] if text else list(counts)
    if len(counts) > MAX_SHOWN:
        matching = [*chosen, *(name for name in matching if name not in chosen)]
    shown = [LabelChoice(name, counts.get(name, 0), name in chosen) for name in matching[: max(MAX_SHOWN, len(chosen))]]
    return LabelChoices(shown, len(matching), len(counts))
