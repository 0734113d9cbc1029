"""Votes of nearest neighbours on a photo's label, and photos whose label they contradict."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from retrieval.top_k import Positions, Scores

VOTERS = 10


@dataclass(frozen=True, slots=True)
class LabelIssue:
    """A label that fewer of a photo's neighbours vote for than for another one."""

    label: str
    suggested: str  # the label with most votes
    confidence: float  # its share of the votes, 0 to 1
    support: float  # the share of the photo's own label


def find_label_issues(
    labels: Sequence[str], neighbours: Positions, weights: Scores
) -> Iterator[tuple[int, LabelIssue]]:
    """Yield the positions of the photos whose nearest neighbours outvote their label.

    Args:
        labels: [photos].
        neighbours: positions of each photo's nearest others, int64 [photos, voters].
        weights: of their votes, float64 [photos, voters]; negative ones count as 0.
    """
    for position, (label, nearest, votes) in enumerate(zip(labels, neighbours.tolist(), weights.tolist(), strict=True)):
        shares = vote_shares([labels[other] for other in nearest], votes)
        suggested = max(shares, key=lambda name: (shares[name], name == label), default=label)
        if suggested != label:
            yield position, LabelIssue(label, suggested, round(shares[suggested], 4), round(shares.get(label, 0.0), 4))


def vote_shares(labels: Sequence[str], votes: Sequence[float]) -> dict[str, float]:
    """Return each label's share of the votes; none if no vote is positive."""
    weights: dict[str, float] = defaultdict(float)
    for label, vote in zip(labels, votes, strict=True):
        weights[label] += max(vote, 0.0)
    total = sum(weights.values())
    return {label: weight / total for label, weight in weights.items()} if total else {}
