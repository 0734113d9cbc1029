"""What the hits of a search mean: the scores of their parts, copies, bands of scores and the predicted label."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from retrieval.index import Hit
from retrieval.index.vectors import Vector
from retrieval.index_thresholds import IndexThresholds
from retrieval.label_prediction import PredictedLabel, predict_label
from retrieval.label_words import LabelWords
from retrieval.near_duplicates import copied_from
from retrieval.parts import KIND, LOOK, Parts
from retrieval.search_response import PartScores, ScoreBands, SearchResult
from retrieval.top_k import Embeddings


@dataclass(frozen=True, slots=True)
class FoundPhotos:
    """Hits with their embeddings, float32 [hits, d], which may be zeros if the embedding has no part look."""

    hits: Sequence[Hit]
    embeddings: Embeddings


class Interpretation:
    """Says what hits mean to a query, the embedding of a photo or a combination of several, float32 [d].

    Args:
        parts: of the embeddings.
        thresholds: of the index.
        label_words: its labels as words; None without a text network.
    """

    def __init__(self, parts: Parts, thresholds: IndexThresholds, label_words: LabelWords | None) -> None:
        self._parts, self._thresholds, self._label_words = parts, thresholds, label_words

    def results(self, query: Vector, found: FoundPhotos) -> list[SearchResult]:
        """Return hits as results, with the scores of their parts, and with near-identical copies marked."""
        return [
            _result(hit, scores, None if original is None else found.hits[original].id)
            for hit, scores, original in zip(
                found.hits, self._part_scores(query, found), self._originals(found), strict=True
            )
        ]

    def copies(self, query: Vector, near: FoundPhotos, first: uuid.UUID | None, sha256: str | None) -> list[uuid.UUID]:
        """Return those of the nearest photos that are the query or near-identical copies of it; `first` is the first.

        The query's own file is recognized by its hash, a copy by its look.
        """
        threshold = self._thresholds.duplicates()
        is_copy = np.zeros(len(near.hits), bool)
        if threshold is not None:
            is_copy = self._parts.one(near.embeddings, LOOK) @ self._parts.one(query[None], LOOK)[0] >= threshold
        found = [
            hit.id
            for hit, copied in zip(near.hits, is_copy, strict=True)
            if copied or hit.id == first or hit.payload.sha256 == sha256
        ]
        return sorted(found, key=lambda photo: photo != first)

    def predicted_label(self, query: Vector, near: FoundPhotos, copies: Sequence[uuid.UUID]) -> PredictedLabel | None:
        """Return the label that the photos nearest by kind predict, without the copies of the query.

        None if none of them is a close match at the default weights. Neither this nor the label depends on the
        filter, page and weights of a search.
        """
        others = [place for place, hit in enumerate(near.hits) if hit.id not in copies]
        voters = FoundPhotos([near.hits[place] for place in others], near.embeddings[others])
        threshold = self._thresholds.close_match()
        if threshold is not None and self._best_score(query, voters) < threshold:
            return None
        return predict_label(voters.hits, self._thresholds.vote())

    def label_of_words(self, near: FoundPhotos) -> PredictedLabel | None:
        """Return the label that most of the photos nearest to words have."""
        return predict_label(near.hits, None)

    def suggested_label(self, query: Vector) -> PredictedLabel | None:
        """Return the label with the name nearest to a photo; None if it is uncertain or names are no words."""
        calibration = self._thresholds.label_words()
        if calibration is None or self._label_words is None:
            return None
        return self._label_words.suggest(self._parts.one(query[None], LOOK)[0], calibration)

    def bands(self, look: float | None) -> ScoreBands | None:
        """Return the bands of scores at these weights; None if the scores are not calibrated."""
        return _bands(self._thresholds.close_match(look), self._thresholds.possible_match(look))

    def bands_of_words(self) -> ScoreBands | None:
        """Return the bands of the scores of words; None if they are not calibrated."""
        return _bands(self._thresholds.word_match(), self._thresholds.possible_word_match())

    def _part_scores(self, query: Vector, found: FoundPhotos) -> list[PartScores | None]:
        """Return the cosine similarities of the parts of each hit; None if the embedding has one part."""
        if self._parts.default_look is None or not found.hits:
            return [None] * len(found.hits)
        cosines = self._parts.cosines(query, found.embeddings)
        pairs = zip(cosines[KIND].tolist(), cosines[LOOK].tolist(), strict=True)
        return [PartScores(round(kind, 6), round(look, 6)) for kind, look in pairs]

    def _originals(self, found: FoundPhotos) -> Sequence[int | None]:
        """Return the position of the hit that each is a near-identical copy of."""
        threshold = self._thresholds.duplicates()
        if threshold is None or not found.hits:
            return [None] * len(found.hits)
        return copied_from(self._parts.one(found.embeddings, LOOK), threshold)

    def _best_score(self, query: Vector, near: FoundPhotos) -> float:
        """Return the highest score at the default weights; −1 without hits."""
        if self._parts.default_look is None:
            return max((hit.score for hit in near.hits), default=-1.0)
        return float((near.embeddings @ self._parts.query(query)).max(initial=-1.0))


def _bands(same_kind: float | None, possible: float | None) -> ScoreBands | None:
    if same_kind is None:
        return None
    return ScoreBands(round(same_kind, 4), None if possible is None else round(possible, 4))


def _result(hit: Hit, scores: PartScores | None, duplicate_of: uuid.UUID | None) -> SearchResult:
    score, photo = round(hit.score, 6), hit.payload
    distance = round(sqrt(2 - 2 * score), 6)
    return SearchResult(
        hit.id, photo.uri, photo.label, photo.width, photo.height, score, distance, scores, duplicate_of, photo.extra
    )
