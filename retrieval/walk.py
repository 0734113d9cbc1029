"""The walk through the folders of a source, which is the same for every store."""

from bisect import bisect_left
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path

from retrieval import formats
from retrieval.errors import BadSource, UnreadablePhoto
from retrieval.ignore import IGNORE_FILE, IgnoreRules
from retrieval.labels import normalized
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.listing_report import ListingReport, Reason
from retrieval.metadata import NAMES as METADATA
from retrieval.metadata import FolderMetadata
from retrieval.photo_ref import PhotoRef, display
from retrieval.stores import Failure, LocalStore, OnSkipped, PhotoStore, store_of
from retrieval.stores.base import Entry

# Folders in which file systems, NAS devices and photo programs keep thumbnails, deleted files and metadata.
SYSTEM_FOLDERS = frozenset((
    "@eadir",
    "@recently-snapshot",
    "@recycle",
    "@tmp",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "__macosx",
    "lost+found",
    "system volume information",
    ".appledouble",
    ".documentrevisions-v100",
    ".fseventsd",
    ".spotlight-v100",
    ".temporaryitems",
    ".thumbnails",
    ".trash",
    ".trashes",
))  # fmt: skip
TRASH = ".trash-"  # the start of the name of a trash folder, before the number of a user
APPLE_DOUBLE = "._"  # the start of the names of files that macOS writes beside others
SYSTEM_FILES = frozenset(("Thumbs.db", "desktop.ini"))
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def walk(
    source: str,
    options: ListingOptions = DEFAULT_OPTIONS,
    report: ListingReport | None = None,
    on_skipped: OnSkipped | None = None,
) -> Iterator[PhotoRef]:
    """The photos of a folder and all folders below it, depth first, in a fixed order.

    Hidden and system folders, Lookalike's own home and what the patterns exclude are skipped, and their photos counted
    in the report. Each folder is visited once, even if links form a circle; links to folders are followed after all
    other folders, so a photo is listed under its real path if that is below the source.

    The label of a photo is the name of the first folder below the source, or the source's own name if the photo is
    directly in it. If all of these folders are named train, val or test and have the same subfolders, they are the
    splits, and the folders in them the labels. A file `metadata.csv`, `.jsonl` or `.parquet` with a column `file_name`
    describes the photos of its folder and below. The entries of one folder are in memory at a time.

    Args:
        source: a path or URL.
        on_skipped: called with each folder below the source that can't be listed.

    Raises:
        BadSource: the source can't be listed, a pattern is not valid, or, without `on_skipped`, a folder below the
            source can't be listed.
    """
    return _Walk(store_of(source), options, report or ListingReport(), on_skipped).photos(source)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder to visit."""

    entry: Entry
    path: str  # relative to the source; empty or with a slash at the end
    rules: IgnoreRules
    label: str | None  # of the photos in it
    names_labels: bool = False  # whether the folders in it are labels
    split: str | None = None
    metadata: FolderMetadata | None = None

    def inner(self, entry: Entry) -> "_Folder":
        """A folder in this one."""
        label = normalized(entry.name) if self.names_labels else self.label
        return replace(self, entry=entry, path=f"{self.path}{entry.name}/", label=label, names_labels=False)


class _Walk:
    def __init__(
        self, store: PhotoStore, options: ListingOptions, report: ListingReport, on_skipped: OnSkipped | None
    ) -> None:
        self._store = store
        self._options = options
        self._report = report
        self._on_skipped = on_skipped
        self._home = _identity(options.home)
        self._visited = set[Hashable]()
        self._metadata: list[FolderMetadata] = []

    def photos(self, source: str) -> Iterator[PhotoRef]:
        entry = self._store.folder(source)
        rules = IgnoreRules.of_options(self._options.exclude)
        top = _Folder(entry, "", rules, normalized(entry.name), names_labels=True)
        folders, links = [top], deque[_Folder]()
        while folders or links:
            folder = folders.pop() if folders else links.popleft()
            try:
                entries = self._visit(folder)
                folder = self._with_files(folder, entries)
            except BadSource as error:
                if self._on_skipped is None or not folder.path:
                    raise
                self._on_skipped(Failure(folder.entry.uri, error.message))
                continue
            below = self._below(folder, entries)
            if not folder.path:
                below = self._as_splits(below)
            links.extend(inner for inner in below if inner.entry.is_link)
            folders.extend(inner for inner in reversed(below) if not inner.entry.is_link)
            yield from self._photos_in(folder, entries)
        for metadata in self._metadata:
            metadata.report_missing(self._report)

    def _visit(self, folder: _Folder) -> list[Entry]:
        """The entries of a folder; none if it was visited before or is Lookalike's home."""
        identity = self._store.identity(folder.entry)
        if identity in self._visited:
            return []
        self._visited.add(identity)
        if identity == self._home:
            self._count_below(folder.entry, folder.path, "home", folder.entry.name)
            return []
        return self._store.entries(folder.entry)

    def _with_files(self, folder: _Folder, entries: Sequence[Entry]) -> _Folder:
        """A folder with its own ignore file and metadata, if it has them; raises `BadSource` if they can't be used."""
        if file := _file(entries, IGNORE_FILE):
            folder = replace(folder, rules=folder.rules.with_file(folder.path, self._ignore_file(file), file.uri))
        for name in METADATA:
            file = _file(entries, name)
            if file and (metadata := FolderMetadata.read(folder.entry, file, self._on_skipped, self._report)):
                self._metadata.append(metadata)
                return replace(folder, metadata=metadata)
        return folder

    def _ignore_file(self, entry: Entry) -> str:
        try:
            return self._store.read(entry.uri).decode("utf-8-sig", "surrogateescape")
        except UnreadablePhoto as error:
            raise BadSource(error.message, error.remedy) from None

    def _below(self, folder: _Folder, entries: Sequence[Entry]) -> list[_Folder]:
        """The folders in a folder that are not skipped."""
        below = []
        for entry in entries:
            if not entry.is_folder:
                continue
            inner = folder.inner(entry)
            if skipped := self._reason(entry, inner.path, folder.rules):
                self._count_below(entry, inner.path, *skipped)
            else:
                below.append(inner)
        return below

    def _reason(self, folder: Entry, path: str, rules: IgnoreRules) -> tuple[Reason, str] | None:
        """Why a folder is skipped; None if it is not."""
        if self._is_home(folder):
            return "home", folder.name
        if is_system_folder(folder.name):
            return "system", folder.name
        if folder.name.startswith(".") and not self._options.include_hidden:
            return "hidden", folder.name
        pattern = rules.excluding(path)
        return None if pattern is None else ("excluded", pattern)

    def _is_home(self, folder: Entry) -> bool:
        with suppress(BadSource):
            return self._home is not None and self._store.identity(folder) == self._home
        return False

    def _count_below(self, folder: Entry, path: str, reason: Reason, detail: str) -> None:
        """Count the photos in a skipped folder; links are not followed, and what can't be listed is not counted."""
        folders = [] if folder.is_link else [(folder, path)]
        while folders:
            outer, path = folders.pop()
            with suppress(BadSource):
                for entry in self._store.entries(outer):
                    inner = f"{path}{entry.name}"
                    if entry.is_folder:
                        folders += [] if entry.is_link else [(entry, f"{inner}/")]
                    elif formats.by_file_name(entry.name):
                        self._report.skip(reason, display(detail), inner)

    def _as_splits(self, folders: list[_Folder]) -> list[_Folder]:
        """The folders at the first level, as splits with folders of labels if that is what they are."""
        splits = [SPLIT_FOLDERS.get(folder.entry.name.lower()) for folder in folders]
        if len({split for split in splits if split}) < 2:
            return folders
        names = [folder.entry.name for folder in folders]
        if None in splits:
            others = [name for name, split in zip(names, splits, strict=True) if split is None]
            self._report.notice(
                f"The folders {' and '.join(name for name in names if name not in others)} are used as labels and not "
                f"as splits, since there are other folders beside them, for example {display(others[0])}."
            )
            return folders
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        inside = [self._entries(folder) for folder in folders]
        have_metadata = folders[0].metadata or all(any(_file(of, name) for name in METADATA) for of in inside)
        if not have_metadata and not _are_alike([_folder_names(entries) for entries in inside]):
            self._report.notice(f"The folders {listed} are used as labels, since they don't have the same subfolders.")
            return folders
        self._report.notice(f"The folders {listed} are used as splits, and the folders in them as labels.")
        return [
            replace(folder, label=None, names_labels=True, split=split)
            for folder, split in zip(folders, splits, strict=True)
        ]

    def _entries(self, folder: _Folder) -> list[Entry]:
        """The entries of a folder; none if it can't be listed, which its visit reports."""
        with suppress(BadSource):
            return self._store.entries(folder.entry)
        return []

    def _photos_in(self, folder: _Folder, entries: Sequence[Entry]) -> Iterator[PhotoRef]:
        """The photos directly in a folder."""
        label, split, is_default = folder.label, folder.split, not self._options.relabel
        photos = [entry for entry in entries if not entry.is_folder and not self._is_skipped(entry, folder)]
        if photos:
            self._report.found_label(label)
        raw = formats.raw_beside_jpeg([entry.name for entry in photos])
        for entry in photos:
            if entry.name in raw:
                self._report.skip_raw(entry.name, folder.path + entry.name)
                continue
            photo = PhotoRef(entry.uri, label, split, status=entry.status, label_is_default=is_default)
            if folder.metadata and (described := folder.metadata.of(entry.uri)):
                photo = _described(photo, described)
            yield photo

    def _is_skipped(self, entry: Entry, folder: _Folder) -> bool:
        """Whether a file is skipped, which is counted; hidden and excluded files that are no photos are not counted."""
        name = entry.name
        is_photo = formats.by_file_name(name) is not None
        skipped = self._reason_of_file(name, folder)
        if skipped is None:
            if not is_photo and (folder.metadata is None or entry.uri != folder.metadata.uri):
                self._report.skip_format(name, folder.path + name)
            return not is_photo
        if is_photo:
            reason, detail = skipped
            self._report.skip(reason, display(detail), folder.path + name)
        return True

    def _reason_of_file(self, name: str, folder: _Folder) -> tuple[Reason, str] | None:
        """Why a file is skipped whether or not it is a photo; None if it is not."""
        if name.startswith("."):
            if name.startswith(APPLE_DOUBLE):
                return "system", f"{APPLE_DOUBLE}*"
            if not self._options.include_hidden:
                return "hidden", ".*"
        elif name in SYSTEM_FILES:
            return "system", name
        if not folder.rules:
            return None
        pattern = folder.rules.excluding(folder.path + name)
        return None if pattern is None else ("excluded", pattern)


def is_system_folder(name: str) -> bool:
    """Whether a folder with this name belongs to a file system, a NAS device or a photo program."""
    name = name.lower()
    return name in SYSTEM_FOLDERS or name.startswith(TRASH)


def is_system_name(name: str) -> bool:
    """Whether a file or folder with this name belongs to a file system, a NAS device or a photo program."""
    return name in SYSTEM_FILES or is_system_folder(name)


def _identity(home: Path | None) -> Hashable | None:
    """The identity of Lookalike's home in a `LocalStore`; None if there is no home."""
    if home is None:
        return None
    store = LocalStore()
    with suppress(BadSource):
        return store.identity(store.folder(str(home)))
    return None


def _file(entries: Sequence[Entry], name: str) -> Entry | None:
    """The file of this name among sorted entries; None if there is none."""
    place = bisect_left(entries, name, key=attrgetter("name"))
    is_found = place < len(entries) and entries[place].name == name and not entries[place].is_folder
    return entries[place] if is_found else None


def _described(photo: PhotoRef, described: PhotoRef) -> PhotoRef:
    """A photo with the label, split and columns that the metadata of its folder have for it."""
    has_label = not described.label_is_default
    return replace(
        photo,
        label=described.label if has_label else photo.label,
        split=described.split or photo.split,
        extra=described.extra,
        label_is_default=photo.label_is_default and not has_label,
    )


def _folder_names(entries: Sequence[Entry]) -> set[str]:
    """The names of folders that are not skipped because of their names."""
    folders = (entry.name for entry in entries if entry.is_folder and not entry.name.startswith("."))
    return {normalized(name) or name for name in folders if not is_system_folder(name)}


def _are_alike(names: Sequence[set[str]]) -> bool:
    """Whether sets are not empty, and the largest contains all others; a small split may lack some classes."""
    largest = max(names, key=len)
    return all(below and below <= largest for below in names)
