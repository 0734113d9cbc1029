"""What the neighbours of photos tell: which queries go well, which classes are mixed up, which labels look wrong."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval import ranking_metrics
from retrieval.neighbours import Embeddings

Labels = npt.NDArray[np.str_]
Ranking = npt.NDArray[np.int64]

VOTERS = 10
AGREEMENT = 0.8


@dataclass(frozen=True)
class Suspect:
    """A photo whose neighbours agree on another label.

    Attributes:
        position: its place among the photos.
        proposed: the label of most of its neighbours.
        share: of its nearest neighbours that have it.
    """

    position: int
    proposed: str
    share: float


def best_and_worst(embeddings: Embeddings, labels: Labels, ranked: Ranking, most: int) -> tuple[list[int], list[int]]:
    """The best query of each class, and the worst queries of all, by average precision at R.

    Args:
        embeddings: float32 [photos, d], unit length.
        labels: str [photos].
        ranked: int [photos, photos − 1], for each photo all others, nearest first.
        most: how many of either.

    Returns:
        Positions, the best first and the worst first; of equals, the one whose nearest neighbour is nearer is better.
    """
    relevant = labels[ranked] == labels[:, None]
    quality = ranking_metrics.map_at_r(relevant, relevant.sum(axis=1))
    nearest = np.sum(embeddings * embeddings[ranked[:, 0]], axis=1)
    order = [int(position) for position in np.lexsort((-nearest, -quality)) if relevant[position].any()]
    best_of_class: dict[str, int] = {}
    for position in order:
        best_of_class.setdefault(str(labels[position]), position)
    best = list(best_of_class.values())[:most]
    return best, [position for position in reversed(order) if position not in best][:most]


def confusion(labels: Labels, ranked: Ranking) -> dict[str, Counter[str]]:
    """For each class, how often each class is the nearest neighbour of its photos."""
    return {
        str(label): Counter(str(found) for found in labels[ranked[labels == label, 0]]) for label in np.unique(labels)
    }


def suspects(labels: Labels, ranked: Ranking) -> list[Suspect]:
    """The photos of whose ten nearest neighbours eight or more agree on another label, the most agreed first.

    A photo that is the only one of its class is no suspect, nor is any where there are fewer than ten neighbours.
    """
    if ranked.shape[1] < VOTERS:
        return []
    photos = Counter(map(str, labels))
    found = []
    for position, neighbours in enumerate(ranked[:, :VOTERS]):
        label, votes = Counter(map(str, labels[neighbours])).most_common(1)[0]
        if label != labels[position] and votes >= AGREEMENT * VOTERS and photos[str(labels[position])] > 1:
            found.append(Suspect(position, label, votes / VOTERS))
    return sorted(found, key=lambda suspect: -suspect.share)
