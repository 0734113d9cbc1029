"""The responses to a search."""

import uuid
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field, RootModel

from retrieval.label_prediction import PredictedLabel
from retrieval.photo_ref import Extra
from retrieval.search_response import Distance, More, Score, ScoreBands, Scores
from web.schemas.fields import Height, ShownPath, Uri, Width
from web.schemas.problems import Problem


class TookMs(BaseModel):
    """Duration of each step in milliseconds; 0 if a step was not needed."""

    decode: float = 0
    embed: float = 0
    search: float = 0


@dataclass(frozen=True, slots=True)
class Found:
    """A photo that resembles the query."""

    id: uuid.UUID
    uri: Uri
    path: ShownPath
    label: str | None
    width: Width
    height: Height
    score: Score
    distance: Distance
    scores: Scores
    duplicate_of: Annotated[
        uuid.UUID | None,
        Field(description="id of an earlier result of this page, of which this photo is a near-identical copy"),
    ]
    extra: Annotated[Extra, Field(description="further columns of its manifest")]
    more: More
    image_url: str
    thumbnail_url: str


class SearchResults(BaseModel):
    """The results of a search, most similar first."""

    model: str = Field(description="id of the model")
    took_ms: TookMs
    predicted_label: PredictedLabel | None = Field(
        description="by the nearest photos if one is a close match at the model's weights and has a label; otherwise "
        "by the names of labels if they are calibrated; null if neither predicts one, and for words with other terms"
    )
    close_match: bool | None = Field(
        description="whether the first result is more likely of the query's class than not, by the calibration of the "
        "model, made in training or on a sample of the index; null if there is none, if nothing was found, and with "
        "`label`, `offset`, several examples or several terms"
    )
    in_collection: uuid.UUID | None = Field(
        description="id of an indexed photo that is the query's file, or a near-identical copy of it; always null for "
        "a query by `id` or examples"
    )
    bands: ScoreBands | None = Field(
        description="the scores that divide the results by what they probably show, which are lower for words; null if "
        "scores are not calibrated, and for words with other terms"
    )
    look: float | None = Field(description="weight of the part look in the scores; null if the model has one part")
    index_empty: bool = Field(False, description="whether nothing was found because the index holds no photos")
    results: list[Found]


class FailedQuery(BaseModel):
    """A query of a batch that can't be answered."""

    error: Problem


class Answers(BaseModel):
    """The answers to the queries of a batch, in their order."""

    answers: list[SearchResults | FailedQuery]


class ResultsOrAnswers(RootModel[SearchResults | Answers]):
    """The results of one search, or the answers to several."""
