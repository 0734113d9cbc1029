"""What a score means: how scores of photos of one label and of different labels are distributed."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from retrieval.bundle import Calibration
from retrieval.neighbours import Embeddings

FEWEST_QUERIES = 20
QUANTILES = np.linspace(0, 1, 21)
QUERIES_AT_ONCE = 1000
HARDLY_REGULARISED = 1e6

Scores = npt.NDArray[np.float32]


def calibrate(embeddings: Embeddings, labels: npt.NDArray[np.str_]) -> Calibration | None:
    """Measure what scores mean; see `Calibration`.

    Args:
        embeddings: of photos that training has not seen, float32 [photos, d], unit length.
        labels: str [photos].

    Returns:
        None where fewer than 20 photos have another of their label and one of another label to find.
    """
    same, other = _best_scores(embeddings, labels)
    asked = np.isfinite(same) & np.isfinite(other)
    same, other = same[asked], other[asked]
    if len(same) < FEWEST_QUERIES:
        return None
    return Calibration(
        queries=len(same),
        same_label=np.quantile(same, QUANTILES).tolist(),
        other_label=np.quantile(other, QUANTILES).tolist(),
        close_match=_boundary(same, other),
    )


def _best_scores(embeddings: Embeddings, labels: npt.NDArray[np.str_]) -> tuple[Scores, Scores]:
    """Of each photo the highest score of another with its label, and of one with another label; −∞ where none is."""
    best: list[list[Scores]] = [[], []]
    for start in range(0, len(labels), QUERIES_AT_ONCE):
        queries = slice(start, start + QUERIES_AT_ONCE)
        scores = embeddings[queries] @ embeddings.T
        np.fill_diagonal(scores[:, start:], -np.inf)
        same = labels[queries, None] == labels
        for found, shown in zip(best, (same, ~same), strict=True):
            found.append(np.where(shown, scores, -np.inf).max(axis=1))
    return np.concatenate(best[0]), np.concatenate(best[1])


def _boundary(same: Scores, other: Scores) -> float | None:
    """The score at which a logistic regression of "same label" on the score is undecided, if it rises with it."""
    scores = np.concatenate([same, other])[:, None]
    fitted = LogisticRegression(C=HARDLY_REGULARISED).fit(scores, np.repeat([1, 0], len(same)))
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return float(np.clip(-intercept / slope, -1, 1)) if slope > 0 else None
