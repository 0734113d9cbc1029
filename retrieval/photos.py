"""Where photos come from: folders and manifests, as a stream of references."""

import csv
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from retrieval.errors import BadSource, UnreadablePhoto
from retrieval.images import SUFFIXES

LabelFrom = Literal["folder", "manifest", "none"]
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


def list_photos(source: str | Path, label_from: LabelFrom = "folder") -> Iterator[PhotoRef]:
    """The photos of a folder or of a CSV/JSONL manifest, in a fixed order.

    A folder is searched in depth, links included (each folder once, so that a circle ends). With `label_from="folder"`
    the label is the name of the first folder below the source, or the source's own name for photos directly in it.
    A manifest (`path,label[,split]`; paths relative to its folder) gives its own labels unless `label_from="none"`.

    Raises:
        BadSource: it can't be listed, or a manifest's row has the wrong shape.
    """
    path = Path(source)
    if path.is_dir():
        yield from _list_folder(path, label_from)
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
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadablePhoto(
            f"{display(path)} can't be read ({error.strerror}).", "Check its name and permissions."
        ) from None


def uri_of(path: Path) -> str:
    """The canonical URI of a local photo: `file://`, its folder's real path, its name; any bytes percent-encoded."""
    return _uri(os.path.join(os.path.realpath(path.parent), path.name))


def path_of(uri: str) -> Path:
    """The local path of a `file://` URI; raises `UnreadablePhoto` for any other."""
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise UnreadablePhoto(f"{uri} is not on this machine.")
    return Path(os.fsdecode(unquote_to_bytes(parts.path)))


def display(path: Path | str) -> str:
    """A path as one printable line: control characters and bytes that are no UTF-8 escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _list_folder(root: Path, label_from: LabelFrom) -> Iterator[PhotoRef]:
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
            raise BadSource(
                f"The folder {display(folder)} can't be listed ({error.strerror}).", "Correct its permissions."
            ) from None
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        below = [entry for entry in entries if _is_folder(entry)]
        folders.extend((entry.path, entry.name if folder == top else label) for entry in reversed(below))
        for entry in entries:
            if entry not in below and os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield PhotoRef(_uri(entry.path), display(label) if label_from == "folder" else None)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _list_manifest(path: Path, label_from: LabelFrom) -> Iterator[PhotoRef]:
    base = os.path.realpath(path.parent)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file) if path.suffix.lower() == ".csv" else _json_lines(path, file)
        try:
            for number, row in enumerate(rows, start=1):
                name = row.get("path")
                if not isinstance(name, str) or not name:
                    raise BadSource(
                        f"{display(path)}, row {number}, has no path.", "Give it the columns path,label[,split]."
                    )
                label = row.get("label") or None
                if label is not None and not isinstance(label, str):
                    raise BadSource(
                        f"{display(path)}, row {number}: the label {label!r} is no text.", "Put it in quotes."
                    )
                yield PhotoRef(
                    _uri(os.path.normpath(os.path.join(base, name))),
                    None if label_from == "none" else label,
                    row.get("split") or None,
                )
        except csv.Error as error:
            raise BadSource(
                f"{display(path)} is no CSV file ({error}).", "Save it as CSV with the columns path,label[,split]."
            ) from None


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
