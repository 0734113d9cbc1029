"""The distributions of scores of photos with the same label and with different labels."""

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression

from retrieval.bundle_format import Calibration
from retrieval.top_k import Embeddings, Scores, top_k_of_each

FEWEST_QUERIES = 20
QUANTILES = np.linspace(0, 1, 21)
HARDLY_REGULARIZED = 1e6


def calibrate(embeddings: Embeddings, labels: npt.NDArray[np.str_]) -> Calibration | None:
    """Measure the highest score of each photo with the same label and with another label; see `Calibration`.

    Args:
        embeddings: of photos that the network was not trained on, float32 [photos, d], unit length.
        labels: str [photos].

    Returns:
        None if fewer than 20 photos have both another photo of their label and one of another label.
    """
    same, other = _best_with_same_label(embeddings, labels), _best_with_other_label(embeddings, labels)
    both = np.isfinite(same) & np.isfinite(other)
    same, other = same[both], other[both]
    if len(same) < FEWEST_QUERIES:
        return None
    return Calibration(
        queries=len(same),
        same_label=np.quantile(same, QUANTILES).tolist(),
        other_label=np.quantile(other, QUANTILES).tolist(),
        close_match=_boundary(same, other),
    )


def _best_with_same_label(embeddings: Embeddings, labels: npt.NDArray[np.str_]) -> Scores:
    """The highest score of another photo with the same label, float64 [photos]; −∞ if there is none."""
    best = np.full(len(labels), -np.inf)
    for label in np.unique(labels):
        of_label = np.flatnonzero(labels == label)
        if len(of_label) > 1:
            best[of_label] = top_k_of_each(embeddings[of_label], 1)[0][:, 0]
    return best


def _best_with_other_label(embeddings: Embeddings, labels: npt.NDArray[np.str_]) -> Scores:
    """The highest score of a photo with another label, float64 [photos]; −∞ if there is none."""
    scores, _ = top_k_of_each(embeddings, 1, groups=labels)
    best: Scores = scores.max(axis=1, initial=-np.inf)
    return best


def _boundary(same: Scores, other: Scores) -> float | None:
    """The score at which a logistic regression of "same label" on the score is undecided, if it rises with it."""
    scores = np.concatenate([same, other])[:, None]
    fitted = LogisticRegression(C=HARDLY_REGULARIZED).fit(scores, np.repeat([1, 0], len(same)))
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return float(np.clip(-intercept / slope, -1, 1)) if slope > 0 else None
