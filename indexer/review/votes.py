"""Votes of the nearest labelled photos on the labels of unlabelled ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.analysis.label_issues import VOTERS, vote_shares
from retrieval.top_k import Embeddings, Positions, top_k_in_batches


@dataclass(frozen=True, slots=True)
class Vote:
    """What the nearest labelled photos vote for; no label and shares of 0 if there is none with a positive score."""

    photo: int  # its position in the gallery
    label: str | None  # with most votes
    share: float  # of the votes, 0 to 1
    rival: str | None  # the label with the second most votes
    rival_share: float
    nearest: float  # cosine similarity by kind of the nearest labelled photo

    @property
    def margin(self) -> float:
        """The lead of the label over its rival, as a share of the votes."""
        return self.share - self.rival_share


def votes_on_unlabelled(labels: Sequence[str | None], kinds: Embeddings) -> list[Vote]:
    """Return the votes on each photo without a label; each of its nearest labelled photos votes with its score.

    Args:
        labels: [photos]; None for a photo without a label.
        kinds: the part kind of their embeddings, float32 [photos, d], unit length.
    """
    unlabelled = np.array([at for at, label in enumerate(labels) if label is None], np.int64)
    labelled = np.array([at for at, label in enumerate(labels) if label is not None], np.int64)
    if not len(labelled):
        return [Vote(photo, None, 0, None, 0, -1) for photo in unlabelled.tolist()]
    return list(_votes(labels, kinds, unlabelled, labelled))


def _votes(
    labels: Sequence[str | None], kinds: Embeddings, unlabelled: Positions, labelled: Positions
) -> Iterator[Vote]:
    for part, scores, neighbours in top_k_in_batches(kinds, VOTERS, unlabelled, candidates=labelled):
        rows = zip(unlabelled[part].tolist(), neighbours.tolist(), scores.tolist(), strict=True)
        for photo, nearest, weights in rows:
            yield _vote(photo, [str(labels[other]) for other in nearest], weights)


def _vote(photo: int, labels: Sequence[str], weights: Sequence[float]) -> Vote:
    shares = vote_shares(labels, weights)
    ranked: list[tuple[str | None, float]] = sorted(shares.items(), key=lambda vote: (-vote[1], vote[0]))
    (label, share), (rival, rival_share) = [*ranked, (None, 0.0), (None, 0.0)][:2]
    return Vote(photo, label, share, rival, rival_share, weights[0])
