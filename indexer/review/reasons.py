"""Why a photo is in a queue, as a sentence."""

from indexer.review.queues import Queued


def reason_of(photo: Queued) -> str:
    """Return why a photo is in its queue."""
    if photo.duplicate_of is not None:
        if photo.score is None:
            return "The same file is indexed under another name."
        return f"Another file looks nearly the same (similarity {photo.score:.3f})."
    if photo.suggested is None:
        return "No photo near it has a label."
    votes = f"{photo.share:.0%} of the votes of the nearest photos are for {photo.suggested}"
    return f"{votes}, {photo.rival_share:.0%} for {photo.rival}." if photo.rival is not None else f"{votes}."
