"""What the nearest neighbours of photos show: the best and worst queries, confused classes, likely wrong labels."""

from collections import Counter

import numpy as np
import numpy.typing as npt

from retrieval.analysis.evaluation import Evaluation
from retrieval.analysis.label_issues import VOTERS, LabelIssue, find_label_issues
from retrieval.top_k import Positions, Scores

Labels = npt.NDArray[np.str_]

AGREEMENT = 0.8


def best_and_worst(evaluation: Evaluation, nearest: Scores, most: int) -> tuple[list[int], list[int]]:
    """Return the positions of the best query of each class, and of the worst queries of all, by average precision at R.

    The best and the worst come first; among equals, a query whose nearest neighbour has a higher score, `nearest`
    float64 [photos], is better.
    """
    quality = evaluation.values["map_at_r"]
    order = np.lexsort((-nearest[evaluation.positions], -quality))
    best_of_class: dict[str, int] = {}
    for label, position in zip(evaluation.labels[order], evaluation.positions[order].tolist(), strict=True):
        best_of_class.setdefault(str(label), position)
    best = list(best_of_class.values())[:most]
    worst = [position for position in evaluation.positions[order[::-1]].tolist() if position not in best]
    return best, worst[:most]


def shown_copies(ranks: Positions, most: int) -> list[int]:
    """Choose edited copies to show, of which half have the worst ranks, and the others are spread over all photos.

    Takes the rank of each copy's original, int64 [photos]; returns positions, the worst rank first.
    """
    worst = np.argsort(-ranks, kind="stable")[: most // 2]
    spread = np.linspace(0, len(ranks) - 1, min(most - len(worst), len(ranks))).astype(int)
    chosen = np.unique(np.concatenate([worst, spread]))
    shown: list[int] = chosen[np.argsort(-ranks[chosen], kind="stable")].tolist()
    return shown


def confusion(labels: Labels, nearest: Positions) -> dict[str, Counter[str]]:
    """Count, for the photos of each class, the classes of their nearest neighbours.

    Takes the labels, str [photos], and the position of each photo's nearest neighbour, int64 [photos], −1 if none.
    """
    queries = np.flatnonzero(nearest >= 0)
    own, found = labels[queries], labels[nearest[queries]]
    return {str(label): Counter(found[own == label].tolist()) for label in np.unique(own)}


def label_issues(labels: Labels, ranked: Positions) -> list[tuple[int, LabelIssue]]:
    """Return the positions of photos of whose ten nearest neighbours at least eight agree on another label.

    Those with most votes come first. The only photo of a class is left out; so are all photos if there are fewer than
    ten neighbours.

    Args:
        labels: str [photos].
        ranked: for each photo the positions of others, nearest first, int64 [photos, depth].
    """
    if ranked.shape[1] < VOTERS:
        return []
    photos, neighbours = Counter(labels.tolist()), ranked[:, :VOTERS]
    issues = find_label_issues(labels.tolist(), neighbours, np.ones(neighbours.shape))
    found = [(place, issue) for place, issue in issues if issue.confidence >= AGREEMENT and photos[issue.label] > 1]
    return sorted(found, key=lambda one: -one[1].confidence)
