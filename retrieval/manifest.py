"""Manifests: CSV or JSON Lines files with the columns `path,label[,split]` and any others."""

import csv
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from retrieval.errors import BadSource
from retrieval.photo_ref import Extra, PhotoRef, display, file_uri, is_url, path_of
from retrieval.source_policy import SourcePolicy
from retrieval.stores import Failure, OnSkipped, store_of

SUFFIXES = (".csv", ".jsonl")
LINE = "#line="  # between a manifest's URI and the number of a line
COLUMNS = frozenset(("path", "label", "split"))


def is_manifest(source: str) -> bool:
    """Whether a path or URL has the suffix of a manifest."""
    return _suffix(source) in SUFFIXES


class PhotoManifest:
    """A manifest of photos at a path or URL; paths in it are relative to its folder.

    Raises `BadSource` if no store understands its URL; the policy says whether its rows may be URLs.
    """

    def __init__(self, source: str, policy: SourcePolicy) -> None:
        self._source = source
        self._policy = policy
        self._uri = store_of(source).canonical(source)
        self._folder = self._uri.rpartition("/")[0] if is_url(source) else os.fspath(path_of(self._uri).parent)

    def photos(self, on_skipped: OnSkipped | None = None) -> Iterator[PhotoRef]:
        """The photo of each line, with its label, split and other columns; `on_skipped` gets each that names no photo.

        Raises:
            BadSource: the file can't be read, has no column `path`, or, without `on_skipped`, a line names no photo.
        """
        with store_of(self._source).open_text(self._source) as lines:
            rows = _csv_rows(lines, self._source) if _suffix(self._source) == ".csv" else enumerate(lines, start=1)
            for number, row in rows:
                try:
                    photo = self._photo(row, f"{display(self._source)}, line {number}")
                except BadSource as error:
                    if on_skipped is None:
                        raise
                    on_skipped(Failure(f"{self._uri}{LINE}{number}", error.message))
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
                raise BadSource(f"{where}: the {column} {value!r} is not text.", "Put it in quotes.")
        return PhotoRef(self._uri_of(name, where), display(label) if label else None, split or None, _extra(row, where))

    def _uri_of(self, name: str, where: str) -> str:
        target = f"{self._folder}/{name}" if is_url(self._folder) and not is_url(name) else name
        try:
            if not is_url(target):
                return file_uri(os.path.normpath(os.path.join(self._folder, name)))
            target.encode()
        except UnicodeEncodeError:
            raise BadSource(f"{where}: no file can have the name {display(name)}.", "Correct the path.") from None
        if not self._policy.allow_urls:
            raise BadSource(f"{where}: {display(name)} is a URL.", "Only the command line may index what it names.")
        return store_of(target).canonical(target)


def _csv_rows(file: Iterable[str], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    rows = csv.DictReader(file)
    try:
        if "path" not in (rows.fieldnames or ()):
            raise BadSource(f"{display(name)} has no column path.", "Give it the columns path,label[,split].")
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise BadSource(
            f"{display(name)} is not a CSV file ({error}).", "Save it as CSV with the columns path,label[,split]."
        ) from None


def _json_row(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadSource(f"{where}, is not JSON ({error}).", "Write one JSON object per line.") from None
    if not isinstance(row, dict):
        raise BadSource(f"{where}, is not a JSON object.", "Write one JSON object per line.")
    return row


def _extra(row: Mapping[str, Any], where: str) -> Extra:
    """The values of a row in columns other than path, label and split; empty ones are left out."""
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
    """Whether an index can store a value: infinite numbers and integers of more than 64 bits can't be stored."""
    return isinstance(value, str) or (math.isfinite(value) and abs(value) < 2**63)


def _suffix(source: str) -> str:
    name = source.partition("::")[0].partition("?")[0] if is_url(source) else source
    return os.path.splitext(name)[1].lower()
