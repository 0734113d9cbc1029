"""The search that command line, page and API share: from a query to the nearest photos."""

import math
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from threading import Lock
from typing import Annotated

import numpy as np
from pydantic import Field

from retrieval.analysis.calibration import ScoreThresholds
from retrieval.analysis.label_issues import VOTERS, vote_shares
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import BadQuery, NotFound, UnreadablePhoto
from retrieval.images import Crop
from retrieval.index import Hit, VectorIndex
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.vectors import Vector, check_query, has_direction
from retrieval.parts import KIND, LOOK, Parts
from retrieval.photo_ref import display, photo_id

MOST_RESULTS = 100
INDEX_READ_SECONDS = 60
# How many hits are fetched, one number after the other, until all with the score of the last result are among them.
# Larger groups of photos with equal scores are sorted in part only.
TIE_DEPTHS = (256, 1024, 4096, 16_384)


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """How to search."""

    k: int = 10  # how many results, 1 to 100
    offset: int = 0  # how many of the nearest photos to skip, for the next page
    filter: Filter = NO_FILTER
    min_score: float | None = None  # results below this score are left out
    exact: bool = False  # compare with every photo instead of using the graph
    look: float | None = None  # weight of the part look, 0 (same kind) to 1 (same look); None: that of the bundle

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_RESULTS:
            raise BadQuery(f"k is {self.k}; it must be from 1 to {MOST_RESULTS}.")
        if self.offset < 0:
            raise BadQuery(f"offset is {self.offset}; it must not be negative.")


@dataclass(frozen=True, slots=True)
class PartScores:
    """The cosine similarity of each part of the embedding to that of the query, −1 to 1."""

    kind: float
    look: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A photo that looks like the query."""

    id: uuid.UUID
    uri: str
    label: str | None
    width: Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
    height: Annotated[int, Field(description="in pixels, with the EXIF orientation applied")]
    score: Annotated[float, Field(description="cosine similarity to the query, −1 to 1; (1 − look)·kind + look·look")]
    distance: Annotated[float, Field(description="Euclidean distance between the unit vectors, √(2 − 2·score)")]
    scores: Annotated[
        PartScores | None, Field(description="cosine similarity of each part; null if the model has one part")
    ]


@dataclass(frozen=True, slots=True)
class PredictedLabel:
    """The label that most of the nearest photos carry."""

    label: str
    confidence: Annotated[float, Field(description="its share of their similarity, 0 to 1")]


@dataclass(frozen=True, slots=True)
class SearchResponse:
    """The response to a search.

    `close_match` is whether the first result probably has the label of the query (`Searcher.close_match`). None if
    that does not apply: it was measured for the nearest of all photos to one photo, not for later pages, filtered
    searches or several examples.
    """

    results: list[SearchResult]  # the nearest first
    predicted_label: PredictedLabel | None  # None if the photos nearest to the query have no labels
    close_match: bool | None = None
    look: float | None = None  # the weight of the part look in the scores; None if the embedding has one part
    took_ms: dict[str, float] = field(default_factory=dict)  # the duration of each step in milliseconds


class Searcher(Closing):
    """Searches the index of one model, which is closed with the searcher."""

    def __init__(self, embedder: Embedder, index: VectorIndex, decoder: PhotoDecoder) -> None:
        self.embedder = embedder
        self.index = index
        self.decoder = decoder
        manifest = embedder.bundle.manifest
        self.parts = Parts(manifest.parts)
        self._thresholds = ScoreThresholds(manifest.calibration_data, self.parts) if manifest.calibration_data else None
        self._embedding = Lock()
        self._photos = 0
        self._photos_indexed = 0
        self._index_thresholds: ScoreThresholds | None = None
        self._index_read_at = -math.inf

    def close(self) -> None:
        """Close the index."""
        self.index.close()

    def by_photo(
        self, data: bytes, parameters: SearchParameters, *, uri: str | None = None, crop: Crop | None = None
    ) -> SearchResponse:
        """Return the photos that look like an encoded photo, or like the part of it within `crop`.

        If the photo is indexed under `uri`, it comes before its exact duplicates.

        Raises:
            UnreadablePhoto: it can't be decoded, or the model has no embedding for it.
            NotFound: as `by_vector`.
        """
        vector, took_ms = self.embed(data, crop)
        response = self.by_vector(vector, parameters, first=photo_id(uri) if uri else None)
        return replace(response, took_ms=took_ms | response.took_ms)

    def embed(self, data: bytes, crop: Crop | None = None) -> tuple[Vector, dict[str, float]]:
        """Return the embedding of an encoded photo, or of the part of it within `crop`.

        Returns:
            A unit vector, float32 [d], and the milliseconds that decoding and embedding took.

        Raises:
            UnreadablePhoto: it can't be decoded, or the model has no embedding for it.
        """
        with self._counted() as is_alone:
            start = time.perf_counter()
            photo = self.decoder.read_pixels(data, self.embedder.bundle.resize, crop)
            decoded = time.perf_counter()
            (vector,) = self.embedder.embed(photo.pixels[None], parallel=is_alone())
        if not has_direction(vector):
            raise UnreadablePhoto(
                "The model has no embedding for this photo; a photo of one colour may have none.",
                "Choose another photo, or a larger part of it.",
            )
        return vector, {"decode": _ms(decoded - start), "embed": _ms(time.perf_counter() - decoded)}

    @contextmanager
    def _counted(self) -> Iterator[Callable[[], bool]]:
        """Count a photo that is being embedded; yields whether it is the only one."""
        with self._embedding:
            self._photos += 1
        try:
            yield lambda: self._photos == 1
        finally:
            with self._embedding:
                self._photos -= 1

    def by_id(self, photo: uuid.UUID, parameters: SearchParameters) -> SearchResponse:
        """Return the photos that look like an indexed one, which is left out; raises `NotFound`."""
        return self.by_examples([photo], [], parameters)

    def by_examples(
        self,
        positive: Sequence[uuid.UUID],
        negative: Sequence[uuid.UUID],
        parameters: SearchParameters,
        *,
        unindexed: Sequence[Vector] = (),
    ) -> SearchResponse:
        """Return the photos that look like the positive examples and unlike the negative ones, which are left out.

        The query is twice the mean of the positive vectors minus the mean of the negative ones (Rocchio's relevance
        feedback; Qdrant's recommendation by average vector). Positive examples that are not indexed are given as unit
        vectors, float32 [d], in `unindexed`.

        Raises:
            BadQuery: there is no positive example, the examples cancel each other, or as `Parts.query`.
            NotFound: an example is not indexed.
        """
        if not positive and not unindexed:
            raise BadQuery("A search by examples needs at least one positive example.")
        start = time.perf_counter()
        vectors = self.index.vectors([*positive, *negative])
        for photo in (*positive, *negative):
            if photo not in vectors:
                raise NotFound(
                    f"There is no indexed photo {photo}.", "Search with the photo itself, or index it again."
                )
        query = np.mean([*unindexed, *(vectors[photo] for photo in positive)], axis=0)
        if negative:
            query = 2 * query - np.mean([vectors[photo] for photo in negative], axis=0)
        response = self.by_vector(query, parameters, leave_out=frozenset((*positive, *negative)))
        is_one_photo = len(unindexed) + len(positive) == 1 and not negative
        return replace(
            response,
            close_match=response.close_match if is_one_photo else None,
            took_ms={"search": _ms(time.perf_counter() - start)},
        )

    def by_vector(
        self,
        vector: Vector,
        parameters: SearchParameters,
        *,
        first: uuid.UUID | None = None,
        leave_out: frozenset[uuid.UUID] = frozenset(),
    ) -> SearchResponse:
        """Return the photos nearest to a vector, float32 [d], an embedding or a combination of several.

        Photos with the same score are in the order of their URIs, on all pages; `first` comes before them.

        Raises:
            BadQuery: the vector has another length or no direction, or as `Parts.query`.
            NotFound: no indexed photo has one of the filter's labels.
        """
        start = time.perf_counter()
        vector = check_query(vector, self.index.dimension)
        hits, voters = self._nearest(vector, parameters, leave_out, first)
        self._require_labels(vector, set(parameters.filter.labels) - {hit.payload.label for hit in hits})
        if parameters.min_score is not None:
            hits = [hit for hit in hits if round(hit.score, 6) >= parameters.min_score]
        results = [_result(hit, scores) for hit, scores in zip(hits, self._part_scores(vector, hits), strict=True)]
        return SearchResponse(
            results,
            _vote([hit for hit in voters if hit.id != first]),
            self._is_close(results, parameters),
            self.parts.look_or_default(parameters.look),
            {"search": _ms(time.perf_counter() - start)},
        )

    def _nearest(
        self, vector: Vector, parameters: SearchParameters, leave_out: frozenset[uuid.UUID], first: uuid.UUID | None
    ) -> tuple[list[Hit], list[Hit]]:
        """Return the requested page of hits, and the nearest photos of any label by kind, which predict the label.

        Photos that are left out are in neither, and do not count for the offset. Without a filter, one search of the
        index suffices for both if the embedding has one part.
        """
        wanted = parameters.offset + parameters.k
        query, default = self.parts.query(vector, parameters.look), self.parts.default_look
        by_look = default is not None and parameters.look is not None and parameters.look > default

        def search(depth: int) -> list[Hit]:
            return self.index.search(query, depth, parameters.filter, exact=parameters.exact, by_look=by_look)

        found = _with_ties(search, max(wanted, VOTERS + 1), leave_out)
        norm = float(np.linalg.norm(query))  # the index returns cosines
        nearest = [replace(hit, score=norm * hit.score) for hit in found]
        voters = nearest
        if parameters.filter or default is not None:
            by_kind = query if default is None else self.parts.query(vector, look=0)
            search_kind = partial(self.index.search, by_kind, exact=parameters.exact)
            voters = _with_ties(search_kind, VOTERS + 1, leave_out)
        if first is not None and all(hit.id != first for hit in nearest):
            nearest += self._hit(first, query, nearest, parameters.filter)
        return _in_order(nearest, first)[parameters.offset : wanted], _in_order(voters, first)

    def _hit(self, photo: uuid.UUID, query: Vector, hits: Sequence[Hit], filter: Filter) -> list[Hit]:
        """Return a photo that a search did not find, for example among many duplicates, as a hit.

        The list is empty if the photo is not indexed, or the filter does not match it.
        """
        payload, vector = self.index.get([photo]).get(photo), self.index.vectors([photo]).get(photo)
        if payload is None or vector is None or not filter.matches(payload):
            return []
        score = float(query @ vector)
        # The index rounds differently; its duplicates must not come before it for that reason.
        same = [hit.score for hit in hits if abs(hit.score - score) < 2e-6]
        return [Hit(photo, max([score, *same]), payload)]

    def _part_scores(self, vector: Vector, hits: Sequence[Hit]) -> list[PartScores | None]:
        """Return the cosine similarities of the parts of each hit; None if the embedding has one part."""
        if self.parts.default_look is None or not hits:
            return [None] * len(hits)
        stored = self.index.vectors([hit.id for hit in hits])
        cosines = self.parts.cosines(vector, np.stack([stored.get(hit.id, vector) for hit in hits]))
        pairs = zip(cosines[KIND].tolist(), cosines[LOOK].tolist(), strict=True)
        return [PartScores(round(kind, 6), round(look, 6)) for kind, look in pairs]

    def _require_labels(self, vector: Vector, unseen: set[str]) -> None:
        """Raise `NotFound` if one of the labels that were not found is not in the index at all."""
        unknown = sorted(label for label in unseen if not self.index.search(vector, 1, Filter((label,))))
        if unknown:
            known = ", ".join(display(label) for label in islice(self.index.labels(), 5))
            raise NotFound(
                f"No indexed photo has the label {', '.join(map(display, unknown))}.",
                f"The most frequent labels are {known}." if known else "The indexed photos have no labels.",
            )

    def close_match(self, look: float | None = None) -> float | None:
        """Return the score from which the nearest photo is probably of the query's kind; None if it is not calibrated.

        `look` is as in `SearchParameters`.
        """
        self._read_index()
        thresholds = self._thresholds or self._index_thresholds
        if thresholds is None:
            calibration = self.embedder.bundle.manifest.calibration
            return calibration.close_match if calibration else None
        return thresholds.close_match(self._photos_indexed, look)

    def _is_close(self, results: Sequence[SearchResult], parameters: SearchParameters) -> bool | None:
        if not results or parameters.offset or parameters.filter:
            return None
        threshold = self.close_match(parameters.look)
        return None if threshold is None else results[0].score >= threshold

    def _read_index(self) -> None:
        """Read the number of photos and the calibration of the index, unless this was done less than a minute ago."""
        if time.monotonic() - self._index_read_at <= INDEX_READ_SECONDS:
            return
        self._photos_indexed = self.index.count()
        if self._thresholds is None:
            data = self.index.calibration()
            self._index_thresholds = ScoreThresholds(data, self.parts) if data else None
        self._index_read_at = time.monotonic()


def _with_ties(search: Callable[[int], list[Hit]], wanted: int, leave_out: frozenset[uuid.UUID]) -> list[Hit]:
    """Return the nearest hits without those left out, and all with the score of the last one that is wanted."""
    asked = wanted + len(leave_out) + 1
    depths = iter([depth for depth in TIE_DEPTHS if depth > asked])
    while True:
        found = search(asked)
        hits = [hit for hit in found if hit.id not in leave_out]
        if len(found) < asked or round(found[-1].score, 6) < round(hits[wanted - 1].score, 6):
            return hits
        deeper = next(depths, None)
        if deeper is None:
            return hits
        asked = deeper


def _in_order(hits: Sequence[Hit], first: uuid.UUID | None) -> list[Hit]:
    """Return the hits with the highest score first; with equal scores `first`, then the others by their URIs."""
    return sorted(hits, key=lambda hit: (-round(hit.score, 6), hit.id != first, hit.payload.uri))


def _vote(hits: Sequence[Hit]) -> PredictedLabel | None:
    voters = [(hit.payload.label, hit.score) for hit in hits[:VOTERS] if hit.payload.label is not None]
    shares = vote_shares([label for label, _ in voters], [score for _, score in voters])
    if not shares:
        return None
    label = max(shares, key=lambda name: shares[name])
    return PredictedLabel(label, round(shares[label], 4))


def _result(hit: Hit, scores: PartScores | None) -> SearchResult:
    score, photo = round(hit.score, 6), hit.payload
    distance = round(math.sqrt(2 - 2 * score), 6)
    return SearchResult(hit.id, photo.uri, photo.label, photo.width, photo.height, score, distance, scores)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
