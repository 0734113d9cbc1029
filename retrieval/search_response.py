"""The response to a search."""

import uuid
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from retrieval.label_prediction import PredictedLabel
from retrieval.photo_ref import Extra


@dataclass(frozen=True, slots=True)
class PartScores:
    """The cosine similarity of each part of the embedding to that of the query, −1 to 1."""

    kind: float
    look: float


Score = Annotated[float, Field(description="cosine similarity to the query, −1 to 1; (1 − look)·kind + look·look")]
Distance = Annotated[float, Field(description="Euclidean distance between the unit vectors, √(2 − 2·score)")]
Scores = Annotated[
    PartScores | None, Field(description="cosine similarity of each part; null if the model has one part")
]

More = Annotated[
    int | None,
    Field(description="number of further photos of its group that the filter matches; null without `group_by`"),
]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A photo that looks like the query."""

    id: uuid.UUID
    uri: str
    label: str | None
    width: Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
    height: Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
    score: Score
    distance: Distance
    scores: Scores
    duplicate_of: Annotated[
        uuid.UUID | None,
        Field(description="an earlier result that this one is a near-identical copy of, by the part look"),
    ] = None
    extra: Extra = field(default_factory=dict)  # the other columns of its manifest
    more: More = None


@dataclass(frozen=True, slots=True)
class ScoreBands:
    """The scores that divide the results by what they probably show, at the weights of the search."""

    same_kind: Annotated[
        float, Field(description="with at least this score, a photo probably shows the same kind as the query")
    ]
    possible: Annotated[
        float | None,
        Field(description="below this score, a photo probably shows something else; null if there are no labels"),
    ]


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """The response to a search.

    `close_match` is whether the first result probably has the label of the query (`IndexThresholds.close_match`). None
    if that does not apply: it was measured for the nearest of all photos to one photo or text, not for later pages,
    filtered searches, several examples or several terms.
    """

    results: list[SearchResult]  # the nearest first
    predicted_label: PredictedLabel | None  # None if neither the nearest photos nor the names of labels predict one
    close_match: bool | None = None
    in_collection: uuid.UUID | None = None  # an indexed photo that is the query's file or a near-identical copy of it
    bands: ScoreBands | None = None  # None if the scores are not calibrated
    look: float | None = None  # the weight of the part look in the scores; None if the embedding has one part
    took_ms: dict[str, float] = field(default_factory=dict)  # the duration of each step in milliseconds
