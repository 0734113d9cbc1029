"""Photos whose label their neighbours contradict: the first to look at where labels are noisy."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from indexer.gallery import Gallery
from retrieval.neighbours import neighbours_of_each

VOTERS = 10


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A photo whose nearest neighbours mostly carry another label.

    Args:
        uri: the photo.
        label: what it is labelled.
        suggested: what most of its neighbours are labelled.
        confidence: their share of the vote, 0 to 1.
        support: the share of the photo's own label.
    """

    uri: str
    label: str
    suggested: str
    confidence: float
    support: float


def find_doubtful(gallery: Gallery, voters: int = VOTERS) -> list[Doubtful]:
    """The labelled photos that their nearest labelled neighbours outvote, the likely mislabelled first.

    Each of the `voters` nearest votes with its cosine similarity, as for a search's predicted label. The order is that
    of the lead of the suggested label over the photo's own.
    """
    labelled = [position for position, photo in enumerate(gallery.photos) if photo.label is not None]
    photos = [gallery.photos[position] for position in labelled]
    labels = [str(photo.label) for photo in photos]
    scores, neighbours = neighbours_of_each(gallery.embeddings[labelled], voters)
    doubtful: list[Doubtful] = []
    for photo, label, row, nearest in zip(photos, labels, scores.tolist(), neighbours.tolist(), strict=True):
        shares = _shares((labels[neighbour], score) for neighbour, score in zip(nearest, row, strict=True))
        suggested = max(shares, key=lambda name: (shares[name], name == label), default=label)
        if suggested != label:
            support = round(shares.get(label, 0.0), 4)
            doubtful.append(Doubtful(photo.uri, label, suggested, round(shares[suggested], 4), support))
    return sorted(doubtful, key=lambda found: (found.support - found.confidence, found.uri))


def _shares(votes: Iterable[tuple[str, float]]) -> dict[str, float]:
    weights: dict[str, float] = defaultdict(float)
    for label, score in votes:
        weights[label] += max(score, 0.0)
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()} if total else {}
