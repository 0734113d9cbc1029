"""The search that command line, page and API share: from a query to the nearest photos."""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from threading import Lock
from typing import Literal

import numpy as np
import numpy.typing as npt

from retrieval.analysis.label_issues import VOTERS
from retrieval.closing import Closing
from retrieval.decoder import PhotoDecoder
from retrieval.diversity import POOL, diverse_order
from retrieval.embedder import Embedder
from retrieval.errors import BadQuery, NotFound, UnreadablePhoto
from retrieval.hit_order import hits_with_ties, in_order
from retrieval.images import Crop
from retrieval.index import Hit, VectorIndex
from retrieval.index.conditions import Field
from retrieval.index.filter import NO_FILTER, Filter
from retrieval.index.vectors import Vector, check_query, has_direction, to_unit_length
from retrieval.index_thresholds import IndexThresholds
from retrieval.interpretation import FoundPhotos, Interpretation
from retrieval.label_prediction import PredictedLabel
from retrieval.label_words import LabelWords
from retrieval.parts import LOOK, Parts
from retrieval.photo_ref import display
from retrieval.result_groups import first_of_groups, group_of, hits_of_groups, only_group
from retrieval.search_response import ScoreBands, SearchResponse
from retrieval.terms import Term, are_photos, are_words
from retrieval.text_embedder import TextEmbedder, has_tokenizers

MOST_RESULTS = 100

QueryKind = Literal["photo", "examples", "words", "mixed"]  # mixed: other terms, whose scores are not calibrated


@dataclass(frozen=True, slots=True)
class SearchParameters:
    """How to search."""

    k: int = 10  # how many results, 1 to 100
    offset: int = 0  # how many of the nearest photos to skip, for the next page
    filter: Filter = NO_FILTER
    min_score: float | None = None  # results below this score are left out
    exact: bool = False  # compare with every photo instead of using the graph
    look: float | None = None  # weight of the part look, 0 (same kind) to 1 (same look); None: that of the bundle
    group_by: Field | None = None  # only the nearest photo for each value of this field
    diversity: float = 0  # weight of the difference from the results before, 0 (the nearest first) to 1

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST_RESULTS:
            raise BadQuery(f"k is {self.k}; it must be from 1 to {MOST_RESULTS}.")
        if self.offset < 0:
            raise BadQuery(f"offset is {self.offset}; it must not be negative.")
        if not 0 <= self.diversity <= 1:
            raise BadQuery(f"diversity is {self.diversity:g}; it must be from 0 to 1.")


class Searcher(Closing):
    """Searches the index of one model, which is closed with the searcher."""

    def __init__(self, embedder: Embedder, index: VectorIndex, decoder: PhotoDecoder) -> None:
        self.embedder = embedder
        self.index = index
        self.decoder = decoder
        self.parts = Parts(embedder.bundle.manifest.parts)
        self.thresholds = IndexThresholds(embedder.bundle.manifest, index)
        label_words = LabelWords(index, lambda text: self.embed_text(text)[0]) if self.has_words else None
        self._meaning = Interpretation(self.parts, self.thresholds, label_words)
        self._embedding = Lock()
        self._photos = 0
        self._texts: TextEmbedder | None = None  # created when it is first used

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
        sha256 = hashlib.sha256(data).hexdigest() if crop is None else None
        first = next((photo.id for photo in self.index.named([uri]).values()), None) if uri else None
        response = self.by_vector(vector, parameters, first=first, sha256=sha256)
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
        sha256: str | None = None,
        leave_out: Sequence[uuid.UUID] = (),
    ) -> SearchResponse:
        """Return the photos that look like the positive examples and unlike the negative ones, which are left out.

        The query is twice the mean of the positive vectors minus the mean of the negative ones (Rocchio's relevance
        feedback; Qdrant's recommendation by average vector). Positive examples that are not indexed are given as unit
        vectors, float32 [d], in `unindexed`; if one of them is the only example, `sha256` may be that of its file.
        `leave_out` are further photos that are no results: those of which `unindexed` has a part.

        Raises:
            BadQuery: there is no positive example, the examples cancel each other, or as `Parts.query`.
            NotFound: an example is not indexed.
        """
        if not positive and not unindexed:
            raise BadQuery("A search by examples needs at least one positive example.")
        start = time.perf_counter()
        vectors = self._stored([*positive, *negative])
        query = np.mean([*unindexed, *(vectors[photo] for photo in positive)], axis=0)
        if negative:
            query = 2 * query - np.mean([vectors[photo] for photo in negative], axis=0)
        kind: QueryKind = "photo" if len(unindexed) + len(positive) == 1 and not negative else "examples"
        left_out = frozenset((*positive, *negative, *leave_out))
        response = self.by_vector(query, parameters, leave_out=left_out, sha256=sha256, kind=kind)
        return replace(response, took_ms={"search": _ms(time.perf_counter() - start)})

    def by_words(self, text: str, parameters: SearchParameters) -> SearchResponse:
        """Return the photos that words describe; raises as `by_terms`."""
        return self.by_terms([Term(text=text)], parameters)

    def by_terms(self, terms: Sequence[Term], parameters: SearchParameters) -> SearchResponse:
        """Return the photos nearest to the sum of the terms, each of unit length times its weight.

        If there are words among the terms, only the part look is compared, which their network embeds, too. Scores of
        words alone have bands of their own, since they are lower than those of photos; those of words with other terms
        and of negative terms alone are not calibrated, and have no bands and predict no label. Indexed photos among
        the terms are left out.

        Raises:
            BadQuery: there is no term, the terms cancel each other, the model has no text network, or `look` is given
                beside words.
            NotFound: as `by_examples`.
        """
        start = time.perf_counter()
        has_words = any(term.text is not None for term in terms)
        if has_words and parameters.look is not None:
            raise BadQuery("look can't be weighted in a search by words.", "Leave look or the words out.")
        photos = [term.photo for term in terms if term.photo is not None]
        stored = self._stored(photos)
        took_ms: dict[str, float] = {}
        query = np.zeros(self.index.dimension, np.float32)
        for term in terms:
            if term.text is not None:
                vector, of_text = self.embed_text(term.text)
                took_ms["embed"] = took_ms.get("embed", 0) + of_text
            elif term.photo is not None:
                vector = stored[term.photo]
            else:
                vector = check_query(np.asarray(term.vector, np.float32), self.index.dimension)
            query += np.float32(term.weight) * (self._as_look(vector) if has_words else to_unit_length(vector))
        if has_words and self.parts.default_look is not None:
            parameters = replace(parameters, look=1)
        if not has_direction(query):
            raise BadQuery("The terms of the query cancel each other.", "Change a weight, or leave a term out.")
        kind: QueryKind = "words" if are_words(terms) else "examples" if are_photos(terms) else "mixed"
        response = self.by_vector(query, parameters, leave_out=frozenset(photos), kind=kind)
        return replace(response, took_ms=took_ms | {"search": _ms(time.perf_counter() - start) - sum(took_ms.values())})

    @property
    def has_words(self) -> bool:
        """Whether photos can be searched by words."""
        return self.embedder.bundle.has_text and has_tokenizers()

    def embed_text(self, text: str) -> tuple[Vector, float]:
        """Return the embedding of a text, float32 [length of the part look], and the milliseconds that it took.

        Raises `BadQuery` if the text is blank or the model has no text network.
        """
        bundle = self.embedder.bundle
        if not bundle.has_text:
            raise BadQuery(
                f"The model {bundle.model_id} has no text network, so photos can't be searched by words.",
                "Import a network that has one with `lookalike import`; docs/models.md names some.",
            )
        if not text.strip():
            raise BadQuery("The text is blank.", "Describe the photos in words.")
        start = time.perf_counter()
        with self._embedding:
            if self._texts is None:
                self._texts = TextEmbedder(bundle.tokenizer, bundle.text_network, self.embedder.threads)
        (vector,) = self._texts.embed([text])
        return vector, _ms(time.perf_counter() - start)

    def _as_look(self, vector: Vector) -> Vector:
        """Return the part look of an embedding, or an embedding of this part alone, beside zeros for the part kind."""
        look = self.embedder.bundle.look or self.index.dimension
        part = to_unit_length(vector[-look:])
        return np.concatenate([np.zeros(self.index.dimension - look, np.float32), part])

    def _stored(self, photos: Sequence[uuid.UUID]) -> dict[uuid.UUID, Vector]:
        """Return the embeddings of indexed photos; raises `NotFound`."""
        with self.index.search_time_limit():
            vectors = self.index.vectors(photos)
        for photo in photos:
            if photo not in vectors:
                raise NotFound(
                    f"There is no indexed photo {photo}.", "Search with the photo itself, or index it again."
                )
        return vectors

    def by_vector(
        self,
        vector: Vector,
        parameters: SearchParameters,
        *,
        first: uuid.UUID | None = None,
        leave_out: frozenset[uuid.UUID] = frozenset(),
        sha256: str | None = None,
        kind: QueryKind = "photo",
    ) -> SearchResponse:
        """Return the photos nearest to a vector, float32 [d], an embedding or a combination of several.

        Photos with the same score are in the order of their URIs, on all pages; `first` comes before them. Copies of
        the query, which are recognized by `sha256` and by their look, do not vote on its label. What the scores mean
        depends on the kind of query: only a photo has copies, and `close_match` applies only to a photo and to words.

        Raises:
            BadQuery: the vector has another length or no direction, or as `Parts.query`.
            NotFound: no indexed photo has one of the filter's labels.
        """
        start = time.perf_counter()
        vector = check_query(vector, self.index.dimension)
        with self.index.search_time_limit():
            hits, nearest = self._nearest(vector, parameters, leave_out, first)
            self._require_labels(vector, set(parameters.filter.labels) - {hit.payload.label for hit in hits})
            stored = self._vectors([*hits, *nearest])
            more = self._more_of_groups(hits, parameters, leave_out)
        found, near = FoundPhotos(hits, stored[: len(hits)]), FoundPhotos(nearest, stored[len(hits) :])
        copies = self._meaning.copies(vector, near, first, sha256) if kind == "photo" else []
        close_match = self._is_close(hits, parameters, kind)
        return SearchResponse(
            [replace(one, more=more.get(one.id)) for one in self._meaning.results(vector, found)],
            self._predicted_label(vector, near, copies, close_match, kind),
            close_match,
            copies[0] if copies and not leave_out else None,
            self.bands(parameters.look, kind),
            self.parts.look_or_default(parameters.look),
            {"search": _ms(time.perf_counter() - start)},
        )

    def bands(self, look: float | None = None, kind: QueryKind = "photo") -> ScoreBands | None:
        """Return the bands of scores of searches with this weight of look; None if the scores are not calibrated."""
        if kind == "mixed":
            return None
        return self._meaning.bands_of_words() if kind == "words" else self._meaning.bands(look)

    def _predicted_label(
        self,
        vector: Vector,
        near: FoundPhotos,
        copies: Sequence[uuid.UUID],
        close_match: bool | None,
        kind: QueryKind,
    ) -> PredictedLabel | None:
        """Return the label that the nearest photos predict for the query; for a photo, else the nearest name of one."""
        if kind == "mixed":
            return None
        if kind == "words":
            return self._meaning.label_of_words(near) if close_match else None
        of_photos = None if close_match is False else self._meaning.predicted_label(vector, near, copies)
        return self._meaning.suggested_label(vector) if of_photos is None and kind == "photo" else of_photos

    def _nearest(
        self, vector: Vector, parameters: SearchParameters, leave_out: frozenset[uuid.UUID], first: uuid.UUID | None
    ) -> tuple[list[Hit], list[Hit]]:
        """Return the requested page of hits, and up to twenty of the nearest photos of any label by kind.

        Photos that are left out are in neither, and do not count for the offset. Without a filter, one search of the
        index suffices for both if the embedding has one part.
        """
        wanted = parameters.offset + parameters.k
        query, default = self.parts.query(vector, parameters.look), self.parts.default_look
        by_look = default is not None and parameters.look is not None and parameters.look > default

        def search(depth: int) -> list[Hit]:
            return self.index.search(query, depth, parameters.filter, exact=parameters.exact, by_look=by_look)

        depth = max(wanted, VOTERS + 1, POOL if parameters.diversity else 0)
        if parameters.group_by is None:
            found = hits_with_ties(search, depth, leave_out)
        else:
            found = hits_of_groups(search, depth, leave_out, parameters.group_by)
        norm = float(np.linalg.norm(query))  # the index returns cosines
        nearest = [replace(hit, score=norm * hit.score) for hit in found]
        voters = nearest
        if parameters.filter or default is not None:
            by_kind = query if default is None else self.parts.query(vector, look=0)
            if not has_direction(by_kind):  # words have no kind
                by_kind = query
            search_kind = partial(self.index.search, by_kind, exact=parameters.exact)
            voters = hits_with_ties(search_kind, VOTERS + 1, leave_out)
        if first is not None and all(hit.id != first for hit in nearest):
            nearest += self._hit(first, query, nearest, parameters.filter)
        page = self._arranged(in_order(nearest, first), parameters)[parameters.offset : wanted]
        return page, in_order(voters, first)[: 2 * VOTERS]

    def _arranged(self, hits: list[Hit], parameters: SearchParameters) -> list[Hit]:
        """Return hits in order as results: those that are similar enough, one of each group, and diverse."""
        if parameters.min_score is not None:
            hits = [hit for hit in hits if round(hit.score, 6) >= parameters.min_score]
        if parameters.group_by is not None:
            hits = first_of_groups(hits, parameters.group_by)
        if not parameters.diversity:
            return hits
        stored = self.index.vectors([hit.id for hit in hits[:POOL]])
        pool = [hit for hit in hits[:POOL] if hit.id in stored]
        if not pool:
            return hits
        weighted = self.parts.weighted(np.stack([stored[hit.id] for hit in pool]), parameters.look)
        scores = np.array([hit.score for hit in pool], np.float32)
        order = diverse_order(scores, weighted, parameters.diversity)
        return [*(pool[at] for at in order), *hits[POOL:]]

    def _more_of_groups(
        self, hits: Sequence[Hit], parameters: SearchParameters, leave_out: frozenset[uuid.UUID]
    ) -> dict[uuid.UUID, int]:
        """Return how many further photos the group of each hit has that the filter matches; empty without groups."""
        field = parameters.group_by
        if field is None:
            return {}
        left_out = self.index.get([*leave_out]).values() if leave_out else ()
        found = {}
        for hit in hits:
            group = group_of(hit.payload, field)
            if group is None:
                found[hit.id] = 0
            else:
                same = only_group(parameters.filter, field, group)
                found[hit.id] = self.index.matching(same, exact=True) - sum(map(same.matches, left_out)) - 1
        return {photo: max(0, count) for photo, count in found.items()}

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

    def _vectors(self, hits: Sequence[Hit]) -> npt.NDArray[np.float32]:
        """Return the stored embeddings of hits, float32 [hits, d]; zeros without a part look, which needs them."""
        if not hits or not self.parts.has(LOOK):
            return np.zeros((len(hits), self.index.dimension), np.float32)
        stored = self.index.vectors(list(dict.fromkeys(hit.id for hit in hits)))
        unknown = np.zeros(self.index.dimension, np.float32)  # deleted since the search
        return np.stack([stored.get(hit.id, unknown) for hit in hits])

    def _require_labels(self, vector: Vector, unseen: set[str]) -> None:
        """Raise `NotFound` if one of the labels that were not found is not in the index at all."""
        unknown = sorted(label for label in unseen if not self.index.search(vector, 1, Filter((label,))))
        if unknown:
            known = ", ".join(display(label) for label in islice(self.index.labels(exact=False), 5))
            raise NotFound(
                f"No indexed photo has the label {', '.join(map(display, unknown))}.",
                f"The most frequent labels are {known}." if known else "The indexed photos have no labels.",
            )

    def _is_close(self, hits: Sequence[Hit], parameters: SearchParameters, kind: QueryKind) -> bool | None:
        if not hits or parameters.offset or parameters.filter or kind not in ("photo", "words"):
            return None
        thresholds = self.thresholds
        threshold = thresholds.word_match() if kind == "words" else thresholds.close_match(parameters.look)
        return None if threshold is None else hits[0].score >= threshold


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
