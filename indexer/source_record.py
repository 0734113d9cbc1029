"""What an index records of its sources: the folders of each, with the number of photos, and which are mount points.

The record is saved with the index, so that every machine that uses the index sees it.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from pydantic import BaseModel, TypeAdapter, ValidationError

from indexer.source_uri import is_folder_uri
from retrieval.index import VectorIndex
from retrieval.photo_ref import PhotoRef, path_of

NOTE = "sources"  # its name in the index
MOST_FOLDERS = 1000  # of a source; those with the fewest photos are left out


class SourceRecord(BaseModel):
    """What a source was when it was last indexed completely."""

    photos: int  # that it named
    indexed_at: str  # ISO 8601 in UTC
    folders: dict[str, int] = {}  # URI → the number of photos directly in it
    mounts: tuple[str, ...] = ()  # the URIs of its folders that were mount points


RECORDS = TypeAdapter(dict[str, SourceRecord])


class SourceSurvey:
    """Counts the photos of the folders of each source while they are listed."""

    def __init__(self) -> None:
        self._folders: dict[str, Counter[str]] = {}

    def counted(self, photos: Iterable[PhotoRef]) -> Iterator[PhotoRef]:
        """Yield the photos, and count them."""
        for photo in photos:
            if photo.source is not None:
                folder = f"{photo.uri.rpartition('/')[0]}/"
                self._folders.setdefault(photo.source, Counter())[folder] += 1
            yield photo

    def records(self) -> dict[str, SourceRecord]:
        """Return the record of each source that was listed."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return {
            source: SourceRecord(
                photos=folders.total(),
                indexed_at=now,
                folders=dict(folders.most_common(MOST_FOLDERS)),
                mounts=tuple(sorted(_mounts(source, folders))),
            )
            for source, folders in self._folders.items()
        }


def read_records(index: VectorIndex) -> dict[str, SourceRecord]:
    """Return the records of an index, by the URI of the source; none if they can't be understood."""
    try:
        return RECORDS.validate_json(index.note(NOTE) or "{}")
    except ValidationError:
        return {}


def update_records(index: VectorIndex, records: dict[str, SourceRecord], *, keep_mounts: bool) -> None:
    """Save records with those of other sources.

    Args:
        keep_mounts: whether folders that were mount points stay recorded as such, since they may only be unmounted.
    """
    before = read_records(index)
    if keep_mounts:
        records = {
            source: record.model_copy(update={"mounts": (*dict.fromkeys((*before[source].mounts, *record.mounts)),)})
            if source in before
            else record
            for source, record in records.items()
        }
    save_records(index, before | records)


def save_records(index: VectorIndex, records: dict[str, SourceRecord]) -> None:
    """Save the records of an index; they replace all others."""
    index.save_note(NOTE, RECORDS.dump_json(records).decode())


def _mounts(source: str, folders: Iterable[str]) -> set[str]:
    """Return those of the folders, and of their parents within the source, that are mount points."""
    if not source.startswith("file:"):
        return set()
    within = {source} if is_folder_uri(source) else set[str]()
    for folder in folders:
        parent = folder
        while parent.startswith(source) and parent not in within:
            within.add(parent)
            parent = f"{parent[:-1].rpartition('/')[0]}/"
    return {folder for folder in within if os.path.ismount(path_of(folder))}
