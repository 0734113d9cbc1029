"""The terms of a search by words on the page: texts, the query photo and examples, each with a weight.

An address holds `text` for each text, and `weight.KEY` for each weight that is not the usual one, so that a form
without scripts makes it. KEY is the place of a text, from 0, or `photo`, or the id of an example. `without` is the
place of a text that a button removes.
"""

import uuid
from typing import Annotated, Any, Self

from pydantic import BaseModel, Field, model_validator

from retrieval.search import QueryKind
from retrieval.terms import Term

WEIGHT = "weight."  # before the key of a term, in a URL
PHOTO = "photo"
MOST_WEIGHT = 3
MAX_TEXTS = 10
LONGEST_TEXTS = 500  # characters of all texts

Weight = Annotated[float, Field(ge=-MOST_WEIGHT, le=MOST_WEIGHT)]


class TermFields(BaseModel):
    """The texts and weights in a URL."""

    text: Annotated[list[str], Field(max_length=MAX_TEXTS + 1)] = []  # one more: the empty box of the form
    weights: Annotated[dict[str, Weight], Field(max_length=100)] = {}
    without: list[int] = []

    @model_validator(mode="before")
    @classmethod
    def _collect_weights(cls, values: dict[str, Any]) -> dict[str, Any]:
        given = {name.removeprefix(WEIGHT): value for name, value in values.items() if name.startswith(WEIGHT)}
        return {**values, "weights": {key: value for key, value in given.items() if value}}

    @model_validator(mode="after")
    def _without_blank_texts(self) -> Self:
        """Leave out texts that are blank, given twice or removed, and number the weights of the others."""
        kept: dict[str, str] = {}
        for place, text in enumerate(self.text):
            if text.strip() and place not in self.without:
                kept.setdefault(text.strip(), str(place))
        if sum(map(len, kept)) > LONGEST_TEXTS or len(kept) > MAX_TEXTS:
            raise ValueError(f"Search by {MAX_TEXTS} texts of {LONGEST_TEXTS} characters together at most.")
        weights = {key: weight for key, weight in self.weights.items() if not key.isdecimal()}
        for place, former in enumerate(kept.values()):
            if former in self.weights:
                weights[str(place)] = self.weights[former]
        self.text, self.weights, self.without = list(kept), weights, []
        return self

    def weight(self, key: object, usual: float = 1) -> float:
        """Return the weight of a term."""
        return self.weights.get(str(key), usual)


def address_of_weights(query: TermFields, like: list[uuid.UUID], unlike: list[uuid.UUID]) -> dict[str, str]:
    """Return the fields of the URL for those terms of a search by words whose weight is not the usual one."""
    if not query.text:
        return {}
    usual = dict.fromkeys([*map(str, range(len(query.text))), PHOTO, *map(str, like)], 1.0)
    usual |= dict.fromkeys(map(str, unlike), -1.0)
    return {
        f"{WEIGHT}{key}": f"{query.weights[key]:g}"
        for key, expected in usual.items()
        if query.weights.get(key, expected) != expected
    }


def terms_of(query: TermFields, photo: Term | None, like: list[uuid.UUID], unlike: list[uuid.UUID]) -> list[Term]:
    """Return the terms of a search by words; `photo` is the query photo, if there is one."""
    terms = [Term(query.weight(place), text=text) for place, text in enumerate(query.text)]
    if photo is not None:
        terms.append(Term(query.weight(PHOTO), photo=photo.photo, vector=photo.vector))
    terms += [Term(query.weight(example), photo=example) for example in like]
    terms += [Term(query.weight(example, -1), photo=example) for example in unlike]
    return terms


def kind_of(query: TermFields, others: bool) -> QueryKind:
    """Return the kind of a search, which decides what its scores mean; `others` is whether it has photos."""
    if not query.text:
        return "photo"
    alone = len(query.text) == 1 and query.weight(0) > 0 and not others
    return "words" if alone else "mixed"
