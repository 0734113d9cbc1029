"""What a score of words and a photo means, measured on photos of an index.

The embeddings of texts and photos of a two-tower network are in two separate cones (Liang et al., "Mind the Gap", 2022,
arXiv:2203.02053), so their scores are much lower than those of two photos and need separate thresholds.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from retrieval.analysis.calibration import DIGITS, FEWEST_PHOTOS, MOST_PHOTOS, NEAREST
from retrieval.bundle_format import Pairs, VoteCalibration, WordCalibration
from retrieval.top_k import Embeddings, Positions

MOST_NAMES: Final = 100  # labels whose names are compared with a photo; each takes about 20 ms of the text network
FAIR: Final = 0.2  # Cohen's kappa from which agreement is fair (Landis and Koch, 1977)

# Captions of subjects that most collections lack.
CAPTIONS: Final = (
    "a dog on the beach", "a cat asleep on a sofa", "a horse in a meadow", "a cow on a farm", "an elephant drinking",
    "a bird on a branch", "an owl at night", "a fish in an aquarium", "a butterfly", "a snake in the sand",
    "a bowl of soup", "a birthday cake with candles", "fresh bread", "a pizza", "fruit on a market stall",
    "a cup of coffee", "a glass of wine", "vegetables in a basket", "a plate of noodles", "cheese on a board",
    "a red car in the street", "a bicycle against a wall", "a motorcycle", "a train at a station", "a plane in the sky",
    "a sailing boat", "a bus in the city", "a tractor on a field", "a bridge across a river", "a street at night",
    "a mountain with snow", "a sunset above the sea", "a waterfall in a forest", "a desert", "a foggy morning",
    "a storm with lightning", "autumn leaves", "a palm tree", "a field of sunflowers", "a cactus in a pot",
    "a wedding", "a child on a swing", "a crowd at a concert", "a football match", "a man who rides a wave",
    "a portrait of an old woman", "a baby asleep", "people at a table", "a dancer on a stage", "a hiker",
    "an old house", "a church tower", "a modern kitchen", "a bedroom with a lamp", "a library full of books",
    "a swimming pool", "a skyscraper", "a ruined castle", "a garden fence", "a spiral staircase",
    "a pair of shoes", "a wrist watch", "a guitar", "a laptop on a desk", "a leather chair",
    "a hammer and nails", "a printed circuit board", "a page of handwriting", "a map of a city", "an X-ray image",
)  # fmt: skip

EmbedTexts = Callable[[Sequence[str]], Embeddings]
Labels = npt.NDArray[np.str_]


def calibrate_words(photos: Embeddings, labels: Sequence[str | None], embed: EmbedTexts) -> WordCalibration:
    """Pair texts with photos that they describe, and with the nearest of those that they do not.

    The names of labels are the texts if they are words for the network: if the nearest name agrees with the label of a
    photo better than by chance. Otherwise, the texts are general captions, most of which describe no photo, as
    impostors are in score normalization (Auckenthaler et al., "Score Normalization for Text-Independent Speaker
    Verification Systems", 2000).

    Args:
        photos: the part of embeddings that is compared with texts, float32 [photos, d], unit length.
        labels: of the photos.
        embed: returns the embeddings of texts, float32 [texts, d], unit length.
    """
    known = most_frequent(Counter(label for label in labels if label is not None))
    labelled = np.flatnonzero([label in known for label in labels])
    if len(known) > 1 and len(labelled) >= FEWEST_PHOTOS:
        own = np.array([known.index(str(labels[photo])) for photo in labelled])
        scores = photos[labelled] @ embed([as_words(label) for label in known]).T
        if _agreement(own, scores) >= FAIR:
            return WordCalibration(
                gallery=len(labelled),
                labelled=len(labelled),
                pairs=_pairs(own, scores),
                label=_probability(own, scores),
            )
    scores = photos @ embed(CAPTIONS).T
    return WordCalibration(gallery=len(photos), labelled=len(labelled), pairs=_nearest(scores.T))


def most_frequent(labels: dict[str, int]) -> list[str]:
    """Return the labels that most photos have, at most 100, by their number of photos."""
    return sorted(labels, key=lambda label: (-labels[label], label))[:MOST_NAMES]


def as_words(label: str) -> str:
    """Write the name of a label as words: `red_tulip` is "red tulip"."""
    return " ".join(label.replace("_", " ").replace("-", " ").split()) or label


def _pairs(own: Positions, scores: Embeddings) -> Pairs:
    """Pair photos with the name of their label, and each name with the nearest photos of other labels.

    `own` is the label of each photo, int64 [photos], and `scores` has those of all names, float32 [photos, names].
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(own))[:MOST_PHOTOS])
    is_own = own[:, None] == np.arange(scores.shape[1])
    others = _nearest(np.where(is_own, -np.inf, scores).T)
    same = scores[chosen, own[chosen]].round(DIGITS).tolist()
    return Pairs(
        look=[*same, *(others.look or ())],
        query=[*own[chosen].tolist(), *(others.query or ())],
        same_label=[True] * len(same) + [False] * len(others.look or ()),
    )


def _nearest(scores: Embeddings) -> Pairs:
    """Pair each text with the nearest photos, by scores [texts, photos]; −∞ leaves a photo out."""
    nearest = -np.sort(-scores, axis=1)[:, :NEAREST]
    texts, places = np.nonzero(np.isfinite(nearest))
    return Pairs(look=nearest[texts, places].astype(float).round(DIGITS).tolist(), query=texts.tolist())


def _agreement(own: Positions, scores: Embeddings) -> float:
    """Return Cohen's kappa of the labels of photos and the nearest names, −1 to 1; 0 is chance."""
    from sklearn.metrics import cohen_kappa_score  # noqa: PLC0415 - takes seconds to import

    nearest = scores.argmax(axis=1)
    return float(cohen_kappa_score(own, nearest)) if len(np.unique([own, nearest])) > 1 else 0.0


def _probability(own: Positions, scores: Embeddings) -> VoteCalibration:
    """Fit the probability that the nearest name is right to its margin over the next one.

    Two names at the same distance, one right and one wrong, stand for what is known beforehand.
    """
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes seconds to import

    margins = margins_of(scores)
    scale = float(margins.std()) or 1.0  # regularization must not depend on the scale of the network's scores
    is_right = [*(scores.argmax(axis=1) == own), True, False]
    fitted = LogisticRegression().fit(np.reshape([*margins / scale, 0, 0], (-1, 1)), is_right)
    return VoteCalibration(slope=float(fitted.coef_[0, 0]) / scale, intercept=float(fitted.intercept_[0]))


def margins_of(scores: Embeddings) -> npt.NDArray[np.float32]:
    """Return by how much the highest score of each row exceeds the next one: float32 [rows], of [rows, texts]."""
    best = -np.sort(-scores, axis=1)[:, :2]
    return np.asarray(best[:, 0] - best[:, 1], np.float32)
