"""The results in bands: what a photo with such a score probably shows, with near-identical copies folded into one."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from retrieval.search_response import ScoreBands, SearchResult
from web.page.cards import Card

BandName = Literal["same", "possible", "other", "all"]
TITLES: dict[BandName, str] = {"same": "Same kind", "possible": "Possibly", "other": "Something else", "all": ""}
UNLABELLED_TITLES: dict[BandName, str] = {"same": "Very similar", "other": "Less similar", "all": ""}
TITLES_OF_WORDS: dict[BandName, str] = {**TITLES, "same": "Good match"}
UNLABELLED_TITLES_OF_WORDS: dict[BandName, str] = {"same": "Good match", "other": "Weaker match", "all": ""}


@dataclass(frozen=True, slots=True)
class Band:
    """Consecutive results, most similar first."""

    name: BandName
    title: str
    cards: list[Card]

    @property
    def collapsed(self) -> bool:
        """Whether it is closed at first: photos that probably show something else."""
        return self.title == TITLES["other"]


def in_bands(
    results: Sequence[SearchResult], bands: ScoreBands | None, *, fold: bool = True, of_words: bool = False
) -> list[Band]:
    """Divide results into bands; one band without a title if the scores are not calibrated.

    `fold` is whether near-identical copies are folded into one card, `of_words` whether the query is a text.
    """
    found: list[Band] = []
    titles = _titles(of_words, is_labelled=not bands or bands.possible is not None)
    names = {result.id: _band(result.score, bands) for result in results}
    for card in _folded(results) if fold else map(Card.found, results):
        name = names[card.id]
        if not found or found[-1].name != name:
            found.append(Band(name, titles[name], []))
        found[-1].cards.append(card)
    return found


def _titles(of_words: bool, is_labelled: bool) -> dict[BandName, str]:
    if of_words:
        return TITLES_OF_WORDS if is_labelled else UNLABELLED_TITLES_OF_WORDS
    return TITLES if is_labelled else UNLABELLED_TITLES


def _band(score: float, bands: ScoreBands | None) -> BandName:
    if bands is None:
        return "all"
    if score >= bands.same_kind:
        return "same"
    return "possible" if bands.possible is not None and score >= bands.possible else "other"


def _folded(results: Sequence[SearchResult]) -> list[Card]:
    """Return a card for each result, with the near-identical copies of it that follow."""
    cards: dict[uuid.UUID, Card] = {}
    for result in results:
        card, first = Card.found(result), result.duplicate_of
        if first in cards:
            cards[first] = replace(cards[first], copies=(*cards[first].copies, card))
        else:
            cards[result.id] = card
    return list(cards.values())
