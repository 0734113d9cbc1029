"""What the index of a new model takes over from that of the current one: ids, labels, columns, sources."""

from dataclasses import replace

from indexer.batches import batches
from indexer.index_columns import copy_columns
from indexer.source_record import read_records, save_records
from retrieval.index import Payload, Point, VectorIndex
from retrieval.index.base import IndexedPhoto

AT_ONCE = 1000


def take_over(index: VectorIndex, new: VectorIndex) -> None:
    """Give the photos of a new index the ids and payloads that they have in the index of the current model.

    A photo keeps what its new point says if its content has changed. It keeps its new id if another photo has its id.

    Raises:
        IndexWriteFailed: the engine refused.
    """
    for some in batches(index.scroll_payloads(), AT_ONCE):
        found = new.named([payload.uri for _, payload in some])
        same = [(id, known, found[known.uri]) for id, known in some if _is_same(known, found.get(known.uri))]
        taken = new.get([id for id, _, photo in same if photo.id != id])
        kept = {photo.id: _embedded(known, photo.payload) for id, known, photo in same if photo.id == id or id in taken}
        new.replace_payloads(kept)
        other = {photo.id: (id, _embedded(known, photo.payload)) for id, known, photo in same if photo.id not in kept}
        if other:
            vectors = new.vectors([*other])
            new.upsert([Point(id, vectors[former], payload) for former, (id, payload) in other.items()])
            new.delete([*other])
    save_records(new, read_records(index))
    copy_columns(index, new)
    new.flush()


def _is_same(known: Payload, photo: IndexedPhoto | None) -> bool:
    return photo is not None and photo.payload.sha256 == known.sha256


def _embedded(known: Payload, photo: Payload) -> Payload:
    """Return what is known of a photo, embedded as in the new index."""
    own = {name: getattr(photo, name) for name in ("width", "height", "indexed_at", "decoder", "ranks")}
    return replace(known, **own)
