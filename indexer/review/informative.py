"""Unlabelled photos that are most useful to label: the votes on them are undecided, and they differ from each other.

Margin sampling (Scheffer et al. 2001, doi:10.1007/3-540-44816-0_31) with maximal marginal relevance, since the photos
with the smallest margins often resemble each other.
"""

from collections.abc import Sequence

import numpy as np

from indexer.review.votes import Vote
from retrieval.diversity import diverse_order
from retrieval.top_k import Embeddings

POOL = 2_000  # photos with the smallest margins, which are ordered; the time grows with the square
DIVERSITY = 0.5


def find_informative(votes: Sequence[Vote], kinds: Embeddings, most: int) -> list[Vote]:
    """Return the votes of the photos to label next, at most `most`.

    Args:
        votes: on unlabelled photos.
        kinds: the part kind of the embeddings of all photos, float32 [photos, d], unit length.
        most: number of photos.
    """
    pool = sorted(votes, key=lambda vote: vote.margin)[:POOL]
    if not pool:
        return []
    undecided = np.array([1 - vote.margin for vote in pool], np.float32)
    order = diverse_order(undecided, kinds[[vote.photo for vote in pool]], DIVERSITY)
    return [pool[position] for position in order[:most]]
