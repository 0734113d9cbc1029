"""The photos of a queue that still wait: those that have not been corrected, confirmed, kept or removed since."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from indexer.batches import batches
from indexer.review.queues import Queued
from retrieval.index import Payload, VectorIndex

READ_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Waiting:
    """A photo of a queue as the index has it now."""

    queued: Queued
    payload: Payload


def waiting(index: VectorIndex, queue: Sequence[Queued], kept: Collection[uuid.UUID]) -> list[Waiting]:
    """Return the photos of a queue that a person has not dealt with since it was computed, in its order.

    Args:
        index: of the model.
        queue: the photos as they were computed.
        kept: the ids of duplicates that are to be kept.
    """
    originals = {photo.duplicate_of for photo in queue if photo.duplicate_of is not None}
    ids = dict.fromkeys([*(photo.id for photo in queue), *originals])
    known = {id: payload for some in batches(ids, READ_AT_ONCE) for id, payload in index.get(some).items()}

    def waits(photo: Queued) -> bool:
        if photo.duplicate_of is not None:
            return photo.id in known and photo.duplicate_of in known and photo.id not in kept
        return photo.id in known and known[photo.id].label == photo.label and not known[photo.id].confirmed

    return [Waiting(photo, known[photo.id]) for photo in queue if waits(photo)]
