"""Where photos come from: folders and manifests, as a stream of references."""

import csv
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from retrieval.errors import BadSource, UnreadablePhoto
from retrieval.images import SUFFIXES

LabelFrom = Literal["folder", "manifest", "none"]
OnUnlistable = Callable[[str, str], None]  # called with a folder's URI, and why it can't be listed
MANIFEST_SUFFIXES = (".csv", ".jsonl")


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo by name: its canonical URI, and the label and split that its source gives it."""

    uri: str
    label: str | None = None
    split: str | None = None

    @property
    def id(self) -> uuid.UUID:
        """The id of this photo's point in every index: the UUIDv5 of its URI."""
        return photo_id(self.uri)

    @property
    def path(self) -> Path:
        """Where it lies on this machine."""
        return path_of(self.uri)


def photo_id(uri: str) -> uuid.UUID:
    """The UUIDv5 of a canonical URI, in the URL namespace of RFC 9562."""
    return uuid.uuid5(uuid.NAMESPACE_URL, uri)


def list_photos(
    source: str | Path, label_from: LabelFrom = "folder", on_unlistable: OnUnlistable | None = None
) -> Iterator[PhotoRef]:
    """The photos of a folder or of a CSV/JSONL manifest, in a fixed order.

    A folder is searched in depth, links included (each folder once, so that a circle ends). With `label_from="folder"`
    the label is the name of the first folder below the source, or the source's own name for photos directly in it.
    A manifest (`path,label[,split]`; paths relative to its folder) gives its own labels unless `label_from="none"`.

    Args:
        source: the folder or manifest.
        label_from: where labels come from.
        on_unlistable: told of each folder below the source that can't be listed, and passed over.

    Raises:
        BadSource: it can't be listed, nor, without `on_unlistable`, a folder below it; a manifest's row has the wrong
            shape.
    """
    path = Path(source)
    if path.is_dir():
        yield from _list_folder(path, label_from, on_unlistable)
    elif path.is_file() and path.suffix.lower() in MANIFEST_SUFFIXES:
        yield from _list_manifest(path, label_from)
    elif path.is_file():
        raise BadSource(
            f"{display(path)} is neither a folder nor a .csv or .jsonl manifest.", "Name the folder it lies in."
        )
    else:
        raise BadSource(f"{display(path)} does not exist or can't be reached.", "Check the name and your permissions.")


def read_photo(path: Path) -> bytes:
    """The content of a photo's file; raises `UnreadablePhoto` where it can't be had."""
    photo_status(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def photo_status(path: Path) -> os.stat_result:
    """The status of a photo's file; raises `UnreadablePhoto` for a folder, or a pipe that would never end."""
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
        raise UnreadablePhoto(f"{display(path)} is {kind}.", "Name a photo.")
    return status


def uri_of(path: Path) -> str:
    """The canonical URI of a local photo: `file://`, its folder's real path, its name; any bytes percent-encoded."""
    return _uri(os.path.join(os.path.realpath(path.parent), path.name))


def path_of(uri: str) -> Path:
    """The local path of a `file://` URI; raises `UnreadablePhoto` for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnreadablePhoto(f"{uri} is not on this machine.", "Copy it here, and name the copy.")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


def display(path: Path | str) -> str:
    """A path or label as one printable line: control characters and what is no UTF-8 escaped."""
    return "".join(char if char.isprintable() else _escaped(char) for char in os.fspath(path))


def _escaped(char: str) -> str:
    byte = ord(char) - 0xDC00  # how Python writes a byte that is no UTF-8 (PEP 383)
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else char.encode("unicode_escape").decode()


def _unreadable(path: Path, error: OSError) -> UnreadablePhoto:
    return UnreadablePhoto(f"{display(path)} can't be read ({error.strerror}).", "Check its name and permissions.")


def _list_folder(root: Path, label_from: LabelFrom, on_unlistable: OnUnlistable | None) -> Iterator[PhotoRef]:
    if label_from == "manifest":
        raise BadSource(
            f"{display(root)} is a folder, not a manifest.", "Name a .csv or .jsonl file, or leave --label-from away."
        )
    top = os.path.realpath(root)
    folders: list[tuple[str, str]] = [(top, os.path.basename(top))]
    visited: set[tuple[int, int]] = set()
    while folders:
        folder, label = folders.pop()
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if on_unlistable is None or folder == top:
                raise BadSource(
                    f"The folder {display(folder)} can't be listed ({error.strerror}).", "Correct its permissions."
                ) from None
            on_unlistable(_uri(folder), f"The folder {display(folder)} can't be listed ({error.strerror}).")
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        below = [entry for entry in entries if _is_folder(entry)]
        folders.extend((entry.path, entry.name if folder == top else label) for entry in reversed(below))
        for entry in entries:
            if not _is_folder(entry) and os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield PhotoRef(_uri(entry.path), display(label) if label_from == "folder" else None)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is one; the entry remembers, so that asking again costs nothing."""
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _list_manifest(path: Path, label_from: LabelFrom) -> Iterator[PhotoRef]:
    base = os.path.realpath(path.parent)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = csv.DictReader(file) if path.suffix.lower() == ".csv" else _json_lines(path, file)
            for number, row in enumerate(rows, start=1):
                yield _photo_of(row, base, label_from, where=f"{display(path)}, row {number}")
    except csv.Error as error:
        raise BadSource(
            f"{display(path)} is no CSV file ({error}).", "Save it as CSV with the columns path,label[,split]."
        ) from None
    except OSError as error:
        raise BadSource(f"{display(path)} can't be read ({error.strerror}).", "Correct its permissions.") from None


def _photo_of(row: dict[str, str], base: str, label_from: LabelFrom, where: str) -> PhotoRef:
    name, label = row.get("path"), row.get("label")
    if not isinstance(name, str) or not name:
        raise BadSource(f"{where}, has no path.", "Give it the columns path,label[,split].")
    for column in ("label", "split"):
        if not isinstance(row.get(column) or "", str):
            raise BadSource(f"{where}: the {column} {row[column]!r} is no text.", "Put it in quotes.")
    try:
        uri = _uri(os.path.normpath(os.path.join(base, name)))
    except UnicodeEncodeError:
        raise BadSource(f"{where}: no file can have the name {display(name)}.", "Correct the path.") from None
    return PhotoRef(uri, display(label) if label and label_from != "none" else None, row.get("split") or None)


def _json_lines(path: Path, file: Iterator[str]) -> Iterator[dict[str, str]]:
    for number, line in enumerate(file, start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise BadSource(
                    f"{display(path)}, line {number}, is no JSON ({error}).", "Write one JSON object a line."
                ) from None
            if not isinstance(row, dict):
                raise BadSource(f"{display(path)}, line {number}, is no JSON object.", "Write one JSON object a line.")
            yield row


def _uri(path: str) -> str:
    return "file://" + quote_from_bytes(os.fsencode(path))
