"""The photos of folders and manifests, here or at a URL, as a stream of references."""

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from retrieval.errors import BadSource
from retrieval.images import SUFFIXES
from retrieval.photos import Extra, PhotoRef, display, file_uri, is_url, uri_of

LabelFrom = Literal["folder", "manifest", "none"]
OnUnlistable = Callable[[str, str], None]  # told the URI of a folder, or of a manifest's line, and what is wrong
MANIFEST_SUFFIXES = (".csv", ".jsonl")
LINE = "#line="  # between a manifest's URI and the number of a line
COLUMNS = frozenset(("path", "label", "split"))


def list_photos(
    source: str | Path,
    label_from: LabelFrom = "folder",
    on_unlistable: OnUnlistable | None = None,
    *,
    urls: bool = False,
) -> Iterator[PhotoRef]:
    """The photos of a folder or of a CSV/JSONL manifest, in a fixed order.

    A folder is searched in depth, links included (each folder once, so that a circle ends). With `label_from="folder"`
    the label is the name of the first folder below the source, or the source's own name for photos directly in it.
    A manifest (`path,label[,split]` and any other columns; paths relative to its folder) gives its own labels unless
    `label_from="none"`.

    Args:
        source: the folder or manifest.
        label_from: where labels come from.
        on_unlistable: told of each folder below the source that can't be listed, and of each line of a manifest that
            names no photo; what it is told of is passed over.
        urls: whether the source, and the rows of a manifest, may be URLs; they are fetched.

    Raises:
        BadSource: it can't be listed, nor, without `on_unlistable`, a folder below it; a manifest has no column
            `path`, or, without `on_unlistable`, a line that names no photo.
    """
    if is_url(source):
        yield from _list_url(str(source), label_from, on_unlistable, urls)
        return
    path = Path(source)
    if path.is_dir():
        yield from _list_folder(path, label_from, on_unlistable)
    elif path.is_file() and path.suffix.lower() in MANIFEST_SUFFIXES:
        yield from _list_manifest(path, label_from, on_unlistable, urls)
    elif path.is_file():
        raise BadSource(
            f"{display(path)} is neither a folder nor a .csv or .jsonl manifest.", "Name the folder it lies in."
        )
    else:
        raise BadSource(f"{display(path)} does not exist or can't be reached.", "Check the name and your permissions.")


def is_folder(source: str | Path) -> bool:
    """Whether a source is a folder, here or, for a URL, where that leads; raises `BadSource` where nobody can tell."""
    if not is_url(source):
        return Path(source).is_dir()
    from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

    return _suffix(str(source)) not in MANIFEST_SUFFIXES and remote.is_folder(str(source))


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
            on_unlistable(file_uri(folder), f"The folder {display(folder)} can't be listed ({error.strerror}).")
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        below = [entry for entry in entries if _is_folder(entry)]
        folders.extend((entry.path, entry.name if folder == top else label) for entry in reversed(below))
        for entry in entries:
            if not _is_folder(entry) and os.path.splitext(entry.name)[1].lower() in SUFFIXES:
                yield PhotoRef(file_uri(entry.path), display(label) if label_from == "folder" else None)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is one; the entry remembers, so that asking again costs nothing."""
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _list_url(url: str, label_from: LabelFrom, on_unlistable: OnUnlistable | None, urls: bool) -> Iterator[PhotoRef]:
    if not urls:
        raise BadSource(f"{display(url)} is a URL.", "Name a folder or manifest on this machine.")
    from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

    uri = remote.canonical(url)
    if _suffix(url) in MANIFEST_SUFFIXES:
        with remote.open_manifest(url) as file:
            yield from _Manifest(uri, uri, uri.rpartition("/")[0], label_from, urls).photos(file, on_unlistable)
    elif label_from == "manifest":
        raise BadSource(f"{display(url)} is no .csv or .jsonl file.", "Name a manifest, or leave --label-from away.")
    else:
        yield from remote.list_url(url, label_from, on_unlistable)


def _list_manifest(
    path: Path, label_from: LabelFrom, on_unlistable: OnUnlistable | None, urls: bool
) -> Iterator[PhotoRef]:
    manifest = _Manifest(os.fspath(path), uri_of(path), os.path.realpath(path.parent), label_from, urls)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from manifest.photos(file, on_unlistable)
    except OSError as error:
        raise BadSource(f"{display(path)} can't be read ({error.strerror}).", "Correct its permissions.") from None


@dataclass(frozen=True, slots=True)
class _Manifest:
    """A manifest's name, its URI, the folder or URL that its paths are relative to, and how to read it."""

    name: str
    uri: str
    base: str
    label_from: LabelFrom
    urls: bool

    def photos(self, file: Iterator[str], on_unlistable: OnUnlistable | None) -> Iterator[PhotoRef]:
        """The photo of each line; a line that names none is told of."""
        rows = _csv_rows(file, self.name) if _suffix(self.uri) == ".csv" else enumerate(file, start=1)
        for number, row in rows:
            try:
                photo = self._photo(row, f"{display(self.name)}, line {number}")
            except BadSource as error:
                if on_unlistable is None:
                    raise
                on_unlistable(f"{self.uri}{LINE}{number}", error.message)
                continue
            if photo is not None:
                yield photo

    def _photo(self, row: Mapping[str, Any] | str, where: str) -> PhotoRef | None:
        """The photo of a row, or of a line of JSON; None for an empty line."""
        if isinstance(row, str):
            if not row.strip():
                return None
            row = _json_row(row, where)
        name, label, split = (row.get(column) for column in ("path", "label", "split"))
        if not isinstance(name, str) or not name:
            raise BadSource(f"{where}, has no path.", "Give it the columns path,label[,split].")
        for column, value in (("label", label), ("split", split)):
            if not isinstance(value or "", str):
                raise BadSource(f"{where}: the {column} {value!r} is no text.", "Put it in quotes.")
        kept = display(label) if label and self.label_from != "none" else None
        return PhotoRef(self._uri(name, where), kept, split or None, _extra(row, where))

    def _uri(self, name: str, where: str) -> str:
        target = f"{self.base}/{name}" if is_url(self.base) and not is_url(name) else name
        try:
            if not is_url(target):
                return file_uri(os.path.normpath(os.path.join(self.base, name)))
            target.encode()
        except UnicodeEncodeError:
            raise BadSource(f"{where}: no file can have the name {display(name)}.", "Correct the path.") from None
        if not self.urls:
            raise BadSource(f"{where}: {display(name)} is a URL.", "Only the command line may index what it names.")
        from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

        return remote.canonical(target)


def _csv_rows(file: Iterator[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(file)
    try:
        if "path" not in (rows.fieldnames or ()):
            raise BadSource(f"{display(name)} has no column path.", "Give it the columns path,label[,split].")
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise BadSource(
            f"{display(name)} is no CSV file ({error}).", "Save it as CSV with the columns path,label[,split]."
        ) from None


def _json_row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{where}, is no JSON ({error}).", "Write one JSON object a line.") from None
    if not isinstance(row, dict):
        raise BadSource(f"{where}, is no JSON object.", "Write one JSON object a line.")
    return row


def _extra(row: Mapping[str, Any], where: str) -> Extra:
    """What a row says beside path, label and split; what it leaves empty, it does not say."""
    if None in row:
        raise BadSource(f"{where}, has more columns than the first line names.", "Put values with commas in quotes.")
    extra: Extra = {}
    for column in row.keys() - COLUMNS:
        value = row[column]
        if value is None or value == "":
            continue
        if not isinstance(value, str | int | float) or not _is_storable(value):
            raise BadSource(
                f"{where}: {display(column)} is {display(repr(value))}.", "Give it text, a number, true or false."
            )
        extra[display(column)] = display(value) if isinstance(value, str) else value
    return extra


def _is_storable(value: str | float) -> bool:
    """Whether the index can keep a value: no infinite number, no integer of more than 64 bits."""
    return isinstance(value, str) or (math.isfinite(value) and abs(value) < 2**63)


def _suffix(url: str) -> str:
    return os.path.splitext(url.partition("::")[0].partition("?")[0])[1].lower()
