"""Photos whose label their nearest neighbours contradict."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retrieval.top_k import Positions, Scores

VOTERS = 10


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A photo for whose label fewer of its neighbours vote than for another one.

    Attributes:
        position: of the photo among the photos.
        label: of the photo.
        suggested: the label with most votes.
        confidence: its share of the votes, 0 to 1.
        support: the share of the photo's own label.
    """

    position: int
    label: str
    suggested: str
    confidence: float
    support: float


def find_label_issues(labels: Sequence[str], neighbours: Positions, weights: Scores) -> Iterator[LabelIssue]:
    """Yield the photos whose nearest neighbours outvote their label, in the order of the photos.

    Args:
        labels: [photos].
        neighbours: positions of each photo's nearest others, int64 [photos, voters].
        weights: of their votes, float64 [photos, voters]; negative ones count as 0.
    """
    for position, (nearest, votes) in enumerate(zip(neighbours.tolist(), weights.tolist(), strict=True)):
        label, shares = labels[position], _shares([labels[other] for other in nearest], votes)
        suggested = max(shares, key=lambda name: (shares[name], name == label), default=label)
        if suggested != label:
            yield LabelIssue(position, label, suggested, shares[suggested], shares.get(label, 0.0))


def _shares(labels: Sequence[str], votes: Sequence[float]) -> dict[str, float]:
    """Label → its share of the votes; empty if no vote counts."""
    weights: dict[str, float] = defaultdict(float)
    for label, vote in zip(labels, votes, strict=True):
        weights[label] += max(vote, 0.0)
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()} if total else {}
