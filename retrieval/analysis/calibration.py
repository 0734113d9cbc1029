"""What a score means: from cosine similarities of pairs of photos to thresholds for any weights and index size."""

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from retrieval.analysis.label_issues import VOTERS, vote_shares
from retrieval.bundle_format import CalibrationData, Pairs, VoteCalibration, WordCalibration
from retrieval.parts import KIND, LOOK, Parts
from retrieval.top_k import Embeddings, Positions, top_k_of_each

FEWEST_PHOTOS = 20
MOST_PHOTOS = 500
NEAREST = 3  # photos with the same and with other labels that each photo is paired with, for each of LOOKS
LOOKS = (0.0, 0.5, 1.0)
DIGITS = 4

FALSE_CLOSE_MATCHES = 0.1  # the share of queries without a match whose best photo may reach the threshold
SAME_KIND_MISSED = 0.1  # the share of pairs of a photo and its nearest ones with its label that may score lower
COPIES_FOUND = 0.97  # the share of near-identical copies that reach the threshold of duplicates
FALSE_DUPLICATES = 0.01  # the share of photos of which another photo may pass for a copy

Column = npt.NDArray[np.float64]


def calibration_data(
    embeddings: Embeddings,
    labels: npt.NDArray[np.str_] | None,
    parts: Parts,
    copies: Pairs | None = None,
    *,
    of_index: bool = False,
) -> CalibrationData | None:
    """Pair each of at most 500 photos with the nearest photos that have its label, and with the nearest others.

    Args:
        embeddings: of photos that the network was not trained on, float32 [photos, d].
        labels: str [photos]; None if there are none: then each photo is paired with the nearest ones.
        parts: of the embeddings.
        copies: photos with near-identical copies of them.
        of_index: whether the photos are a sample of an index, not validation photos.

    Returns:
        None if there are fewer than 20 photos.
    """
    if len(embeddings) < FEWEST_PHOTOS:
        return None
    chosen = np.sort(np.random.default_rng(0).permutation(len(embeddings))[:MOST_PHOTOS])
    pairs = np.unique(np.concatenate(list(_nearest(embeddings, labels, parts, chosen))), axis=0)
    one, other = pairs.T
    photos = Pairs(
        **_columns(embeddings[one], embeddings[other], parts),
        query=np.searchsorted(chosen, one).tolist(),
        same_label=None if labels is None else (labels[one] == labels[other]).tolist(),
    )
    data = CalibrationData(
        calibrated_on="index" if of_index else "validation",
        gallery=len(embeddings),
        photos=photos,
        copies=copies,
    )
    return data.model_copy(update={"vote": None if labels is None else _vote(embeddings, labels, parts, chosen, data)})


def pairs_of(some: Embeddings, others: Embeddings, parts: Parts) -> Pairs:
    """Pair embeddings of photos and of copies of them, float32 [pairs, d] each."""
    return Pairs(**_columns(some, others, parts))


def probability_of_vote(share: float, vote: VoteCalibration) -> float:
    """Return the probability that a label with this share of the votes is right, 0 to 1."""
    return probability(_log_odds(share), vote)


def probability(evidence: float, calibration: VoteCalibration) -> float:
    """Return the probability that a label is right, 0 to 1, by the log odds of a vote or by a margin."""
    return 1 / (1 + math.exp(-(calibration.slope * evidence + calibration.intercept)))


def thresholds_of_words(words: WordCalibration, parts: Parts) -> "ScoreThresholds":
    """Return the thresholds that follow from pairs of texts and photos."""
    return ScoreThresholds(CalibrationData(calibrated_on="index", gallery=words.gallery, photos=words.pairs), parts)


class ScoreThresholds:
    """The thresholds that follow from pairs of photos, or of texts and photos.

    The highest score of each photo with a photo that does not match it is extrapolated to the size of an index: the
    number of photos within a small distance of a photo grows as a power of that distance, the intrinsic dimension
    (Levina and Bickel, "Maximum Likelihood Estimation of Intrinsic Dimension", 2004).

    Args:
        data: the pairs.
        parts: of the embeddings.
    """

    def __init__(self, data: CalibrationData, parts: Parts) -> None:
        self._data, self._parts = data, parts

    def close_match(self, photos: int, look: float | None = None) -> float:
        """Return the score above which the best of `photos` photos probably shows the same kind as the query.

        One in ten queries without a match in the index has a score as high. `look` is as in `Parts.query`.
        """
        scores = self._weighted(self._photos, self._parts.look_or_default(look))
        return self._extrapolated(scores, self._others, FALSE_CLOSE_MATCHES, photos)

    def possible_match(self, photos: int, look: float | None = None) -> float | None:
        """Return the score below which a photo rarely shows the query's kind, at most that of a close match.

        A tenth of the photos nearest to another one with the same label have lower scores. None without labels.
        """
        scores = self._weighted(self._photos, self._parts.look_or_default(look))[~self._others]
        if not len(scores):
            return None
        return min(float(np.quantile(scores, SAME_KIND_MISSED)), self.close_match(photos, look))

    @property
    def vote(self) -> VoteCalibration | None:
        """How the nearest photos' vote on a label is calibrated; None without labels."""
        return self._data.vote

    def duplicates(self, photos: int) -> float:
        """Return the cosine similarity of look above which two of `photos` photos are near-identical.

        97 % of the near-identical copies of the calibration reach it, unless so do other photos of more than one photo
        in a hundred.
        """
        every = np.ones(len(self._queries), bool)
        scores = self._weighted(self._photos, 1.0)
        threshold = self._extrapolated(scores, every, FALSE_DUPLICATES, photos)
        if self._data.copies is None:
            return threshold
        return max(threshold, float(np.quantile(self._weighted(_parts_of(self._data.copies), 1.0), 1 - COPIES_FOUND)))

    @cached_property
    def _photos(self) -> list[Column]:
        return _parts_of(self._data.photos)

    @cached_property
    def _queries(self) -> Positions:
        return np.array(self._data.photos.query)

    @cached_property
    def _others(self) -> npt.NDArray[np.bool_]:
        """Whether the photos of a pair have different labels; True without labels."""
        same = self._data.photos.same_label
        return np.ones(len(self._queries), bool) if same is None else ~np.array(same)

    def _extrapolated(self, scores: Column, chosen: npt.NDArray[np.bool_], share: float, photos: int) -> float:
        """The score that the best of `photos` photos reaches for this share of queries, from chosen pairs."""
        nearest = _smallest_distances(1 - scores[chosen], self._queries[chosen])
        if not len(nearest):
            return 1.0
        distance = float(np.quantile(nearest[:, 0], share))
        ratios = np.log(np.maximum(nearest[:, -1:], 1e-6) / np.maximum(nearest[:, :-1], 1e-6))
        return float(np.clip(1 - distance * (self._data.gallery / max(photos, 1)) ** ratios.mean(), -1, 1))

    def _weighted(self, parts: list[Column], look: float | None) -> Column:
        """The scores of pairs with this weight of look; of the only part if there is one."""
        if len(parts) == 1 or look is None:
            return parts[0]
        kind, by_look = parts
        scores: Column = (1 - look) * kind + look * by_look
        return scores


def _vote(
    embeddings: Embeddings, labels: npt.NDArray[np.str_], parts: Parts, chosen: Positions, data: CalibrationData
) -> VoteCalibration | None:
    """Fit the probability that a vote is right to the votes on the chosen photos that have a close match.

    Each photo is predicted by the ten others that are nearest by kind. Two votes without a majority, one right and one
    wrong, stand for what is known beforehand. None if fewer than 20 photos have a close match.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes seconds to import

    best = top_k_of_each(embeddings, 1, queries=chosen)[0][:, 0]
    close = chosen[best >= ScoreThresholds(data, parts).close_match(len(embeddings))]
    if len(close) < FEWEST_PHOTOS:
        return None
    scores, voters = top_k_of_each(parts.one(embeddings, KIND), VOTERS, queries=close)
    votes = [
        _majority(labels[photos].tolist(), weights.tolist()) for photos, weights in zip(voters, scores, strict=True)
    ]
    log_odds = [_log_odds(share) for _, share in votes] + [0.0, 0.0]
    is_right = [label == labels[photo] for (label, _), photo in zip(votes, close, strict=True)] + [True, False]
    fitted = LogisticRegression().fit(np.reshape(log_odds, (-1, 1)), is_right)
    return VoteCalibration(slope=float(fitted.coef_[0, 0]), intercept=float(fitted.intercept_[0]))


def _majority(labels: list[str], weights: list[float]) -> tuple[str | None, float]:
    """Return the label with the largest share of the votes, and its share; None and 0 if no vote is positive."""
    shares = vote_shares(labels, weights)
    return max(shares.items(), key=lambda vote: vote[1]) if shares else (None, 0.0)


def _log_odds(share: float) -> float:
    """Return the log odds of a share of ten votes, with half a vote added to each side."""
    return math.log((VOTERS * share + 0.5) / (VOTERS * (1 - share) + 0.5))


def _parts_of(pairs: Pairs) -> list[Column]:
    """The scores of the parts that the embedding has, float64 [pairs] each."""
    return [np.array(column) for column in (pairs.kind, pairs.look) if column is not None]


def _nearest(
    embeddings: Embeddings, labels: npt.NDArray[np.str_] | None, parts: Parts, chosen: Positions
) -> Iterator[Positions]:
    """Yield pairs of photos, int64 [pairs, 2], the first of each a chosen one."""
    for look in LOOKS if parts.default_look is not None else (None,):
        weighted = parts.weighted(embeddings, look)
        if labels is None:
            yield _pairs(chosen, top_k_of_each(weighted, NEAREST, queries=chosen)[1])
            continue
        yield _pairs(chosen, top_k_of_each(weighted, NEAREST, queries=chosen, groups=labels)[1])
        for label in np.unique(labels[chosen]):
            members, own = np.flatnonzero(labels == label), np.flatnonzero(labels[chosen] == label)
            positions = np.searchsorted(members, chosen[own])
            found = top_k_of_each(weighted[members], NEAREST, queries=positions)[1]
            yield _pairs(chosen[own], members[found])


def _pairs(queries: Positions, found: Positions) -> Positions:
    """The pairs of queries, int64 [n], and of the photos found for each, int64 [n, k]; −1 is none."""
    pairs = np.stack([np.repeat(queries, found.shape[1]), found.ravel()], axis=1)
    found_only: Positions = pairs[pairs[:, 1] >= 0]
    return found_only


def _smallest_distances(distances: Column, queries: Positions) -> Column:
    """The smallest distances of each query in order, float64 [queries, NEAREST]; of queries that have as many."""
    order = np.lexsort((distances, queries))
    _, first, counts = np.unique(queries[order], return_index=True, return_counts=True)
    nearest: Column = distances[order][first[counts >= NEAREST, None] + np.arange(NEAREST)]
    return nearest


def _columns(some: Embeddings, others: Embeddings, parts: Parts) -> dict[str, list[float]]:
    """The cosine similarity of each part for pairs of embeddings, float32 [pairs, d] each."""
    return {
        name: np.einsum("nd,nd->n", parts.one(some, name), parts.one(others, name)).round(DIGITS).tolist()
        for name in (KIND, LOOK)
        if parts.has(name)
    }
