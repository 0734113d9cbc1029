"""Unlabelled photos that the nearest labelled photos agree on."""

from collections.abc import Callable, Sequence

from indexer.review.votes import Vote

CONFIDENT = 0.9  # probability that the label is right


def find_confident(votes: Sequence[Vote], confidence: Callable[[float], float], close_match: float) -> list[Vote]:
    """Return the votes of confident labels, the most confident first.

    Args:
        votes: on unlabelled photos.
        confidence: returns the probability that a label with this share of the votes is right.
        close_match: the score by kind from which the nearest photo probably shows the same kind; without such a photo,
            the votes say nothing.
    """
    close = [vote for vote in votes if vote.label is not None and vote.nearest >= close_match]
    confident = [vote for vote in close if confidence(vote.share) >= CONFIDENT]
    return sorted(confident, key=lambda vote: (-vote.share, -vote.nearest, vote.photo))
