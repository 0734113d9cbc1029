"""Corrections of photos: labels, columns and confirmations that persons give, and that jobs keep.

A correction applies to a content: to every indexed photo with it, under any name and with any model.
"""

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import EllipsisType

from indexer.batches import batches
from indexer.correction_log import Correction, CorrectionLog, line_of
from indexer.index_columns import IndexColumns
from retrieval.errors import NotFound, PhotoChanged
from retrieval.index import Payload, VectorIndex
from retrieval.labels import normalized
from retrieval.photo_ref import Value

AT_ONCE = 500  # contents looked up in the index at once


@dataclass(frozen=True, slots=True)
class PhotoChange:
    """What a person changes in a photo; everything else stays."""

    label: str | EllipsisType | None = ...  # None: unlabelled
    columns: Mapping[str, Value | None] = field(default_factory=dict)  # None: without a value
    confirmed: bool | None = None  # whether the label is confirmed; None: if it is given


class Corrections:
    """The corrections of a home, and the photos of an index to which they apply."""

    def __init__(self, home: Path) -> None:
        self.log = CorrectionLog(home)

    def applied(self, photo: Payload) -> Payload:
        """Return the payload of a photo with the correction of its content, if there is one."""
        correction = self.log.of(photo.sha256)
        return photo if correction is None else _corrected(photo, correction, sets_label=correction.sets_label)

    def sets_label(self, photo: Payload) -> bool:
        """Whether the label of a photo is that of a correction."""
        correction = self.log.of(photo.sha256)
        return correction is not None and correction.sets_label

    def locked(self) -> AbstractContextManager[object]:
        """Return a context in which no photo is corrected."""
        return self.log.locked()

    def correct(
        self,
        index: VectorIndex,
        photo: uuid.UUID,
        change: PhotoChange,
        key: str | None = None,
        expected: Callable[[str], bool] = lambda version: True,
    ) -> Payload:
        """Change an indexed photo and the copies of its file, record that in the log, and return the new payload.

        The log is written first: if the process is killed meanwhile, the next job or correction of the photo completes
        the change.

        Args:
            key: the name of the API key of the person; None if it is unknown.
            expected: whether a version of the photo (`version_of`) is the one that the person has seen.

        Raises:
            NotFound: the photo is not indexed.
            PhotoChanged: it has another version, and differs from what it would become.
            BadQuery: the value of a column is not of its kind.
            LookalikeError: the index or the log can't be written.
        """
        with self.locked():
            found = index.get([photo]).get(photo)
            if found is None:
                raise NotFound(f"There is no indexed photo {photo}.", "It may have been removed; search for it again.")
            before = self.log.of(found.sha256)
            if before is not None and self.applied(found) != found:  # it was recorded while the index was not writable
                apply_updates(index, [Update(before, None)])
                found = index.get([photo]).get(photo, found)
            correction = _correction(found, before, change, key, self.log.next_time(found.sha256))
            update = Update(correction, before)
            if not expected(version_of(found)) and update.applied(found) != found:
                raise _changed_meanwhile(photo, found)
            IndexColumns(index).accept(change.columns)
            if _what(correction) != ((found.label, {}, found.confirmed) if before is None else _what(before)):
                self.log.append([correction])
            apply_updates(index, [update])
            return index.get([photo]).get(photo, found)

    def merge(self, corrections: Iterable[Correction]) -> tuple[int, list["Update"]]:
        """Add the corrections of another home to the log; return how many are new, and all updates for an index.

        It is idempotent; call it within `locked`. Of several corrections of a content, the one with the latest time
        counts.
        """
        before = self.log.latest()
        known = {line_of(one) for one in self.log.lines() if isinstance(one, Correction)}
        wanted = {line_of(one): one for one in corrections}
        new = [one for line, one in wanted.items() if line not in known]
        self.log.append(new)
        after = self.log.latest()
        contents = dict.fromkeys(one.sha256 for one in wanted.values())
        return len(new), [Update(after[content], before.get(content)) for content in contents]


@dataclass(frozen=True, slots=True)
class Update:
    """A correction that is new, and the one that it replaces."""

    correction: Correction
    before: Correction | None

    def applied(self, photo: Payload) -> Payload:
        """Return the payload of a photo after the update: a correction that is withdrawn restores the label."""
        is_withdrawn = self.before is not None and self.before.sets_label
        return _corrected(photo, self.correction, sets_label=self.correction.sets_label or is_withdrawn)


def apply_updates(index: VectorIndex, updates: Iterable[Update]) -> int:
    """Change the indexed photos of corrected contents; return how many photos were changed.

    Raises `IndexWriteFailed` if the index can't be written.
    """
    changed = 0
    columns = IndexColumns(index)
    for some in batches(updates, AT_ONCE):
        by_content = {one.correction.sha256: one for one in some}
        found = index.with_content([*by_content])
        corrected = {photo: by_content[payload.sha256].applied(payload) for photo, payload in found.items()}
        for payload in corrected.values():
            columns.learn_values(payload.extra)
        new = {photo: columns.applied(payload) for photo, payload in corrected.items()}
        new = {photo: payload for photo, payload in new.items() if payload != found[photo]}
        index.replace_payloads(new)
        changed += len(new)
    index.flush()
    return changed


def version_of(photo: Payload) -> str:
    """Return a text that changes with the content, the label, the columns or the confirmation of a photo."""
    parts = json.dumps([photo.sha256, photo.label, photo.extra, photo.confirmed], sort_keys=True)
    return hashlib.sha256(parts.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _correction(
    photo: Payload, before: Correction | None, change: PhotoChange, key: str | None, time: str
) -> Correction:
    """Return the correction of a photo after a change, which includes what earlier corrections changed."""
    is_given = not isinstance(change.label, EllipsisType)
    label = photo.label if isinstance(change.label, EllipsisType) else normalized(change.label)
    confirmed = (is_given or photo.confirmed) if change.confirmed is None else change.confirmed
    original = before.original if before is not None and before.sets_label else photo.label
    columns = {**({} if before is None else before.columns), **change.columns}
    return Correction(time, key, photo.sha256, photo.label, label, original, columns, confirmed)


def _corrected(photo: Payload, correction: Correction, *, sets_label: bool) -> Payload:
    """Return the payload of a photo with a correction.

    A photo that is still confirmed, unlike the correction, still has the label of an earlier one, which is replaced.
    """
    sets_label = sets_label or (photo.confirmed and not correction.confirmed)
    columns = correction.columns
    kept = {name: value for name, value in photo.extra.items() if name not in columns}
    extra = kept | {name: value for name, value in columns.items() if value is not None}
    label = correction.new if sets_label else photo.label
    return replace(photo, label=label, extra=extra, confirmed=correction.confirmed)


def _what(correction: Correction) -> tuple[object, ...]:
    """What a correction says, without when and by whom."""
    return correction.new, correction.columns, correction.confirmed


def _changed_meanwhile(photo: uuid.UUID, found: Payload) -> PhotoChanged:
    label = "it has no label" if found.label is None else f"its label is {found.label}"
    confirmed = ", confirmed" if found.confirmed else ""
    return PhotoChanged(
        f"The photo {photo} has been changed meanwhile: now {label}{confirmed}.", "Look at it again, then repeat yours."
    )
