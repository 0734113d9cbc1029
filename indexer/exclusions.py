"""The contents of photos that persons removed: recorded with the index of a model, and taken over by other models."""

import uuid

from indexer.excluded_contents import NOTE, excluded_contents, parse_contents, save_contents
from indexer.removed_photos import photos_removed_by_person, remove_photos, restore_photo
from retrieval.index import IndexStore, VectorIndex
from retrieval.index.base import IndexedPhoto


def exclude_photo(index: VectorIndex, photo: IndexedPhoto) -> None:
    """Remove a photo from an index, and leave its content out of jobs, with other models, too.

    If another photo has the same content, only this one is left out of jobs with this model.
    """
    before, content = _recorded(index), photo.payload.sha256
    remove_photos(index, [photo], "person")
    save_contents(index, before if index.with_content([content]) else before | {content})


def restore_excluded(index: VectorIndex, photo: uuid.UUID) -> IndexedPhoto:
    """Restore a removed photo, see `restore_photo`, and exclude its content no longer."""
    restored = restore_photo(index, photo)
    save_contents(index, _recorded(index) - {restored.payload.sha256})
    return restored


def adopt_exclusions(store: IndexStore, index: VectorIndex) -> None:
    """Take over what persons removed from the index of the current model, if this is another one's.

    Photos of these contents that this index has are removed; a job leaves the others out.
    """
    current = store.current()
    if current is None or current == index.model:
        if index.note(NOTE) is None and index.has_removed():
            save_contents(index, _recorded(index))
        return
    new = parse_contents(store.note(current, NOTE)) - excluded_contents(index)
    if new:
        found = index.with_content([*new])
        remove_photos(index, [IndexedPhoto(photo, payload) for photo, payload in found.items()], "person")
        save_contents(index, _recorded(index) | new)


def copy_exclusions(source: VectorIndex, target: VectorIndex) -> None:
    """Exclude from another index of the same model what is excluded from this one."""
    if contents := _recorded(source):
        save_contents(target, contents)


def _recorded(index: VectorIndex) -> set[str]:
    """Return the recorded contents, or those of the removed photos if an older version removed them."""
    if (note := index.note(NOTE)) is not None:
        return parse_contents(note)
    return {photo.payload.sha256 for photo in photos_removed_by_person(index)}
