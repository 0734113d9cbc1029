"""Manifests: CSV, JSON Lines or Parquet files with the columns `path,label[,split]` and any others."""

import json
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from retrieval.errors import BadSource
from retrieval.labels import normalized
from retrieval.listing_report import ListingReport
from retrieval.photo_ref import Extra, PhotoRef, display, display_uri, file_uri, is_url, path_of
from retrieval.source_policy import SourcePolicy
from retrieval.stores import Failure, OnSkipped, store_of
from retrieval.stores.base import CHAIN
from retrieval.table import COMMENT, SUFFIXES, Values, read_table, table_suffix
from retrieval.wording import count_of

LISTED_SUFFIXES = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
LINE = "#line="  # between a manifest's URI and the number of a line
PATHS = ("path", "file_name", "filename", "file_path", "filepath")
LABELS = ("label", "labels", "class", "category")


def is_manifest(source: str) -> bool:
    """Whether a path or URL has the suffix of a manifest."""
    return _suffix(source) in SUFFIXES


class PhotoManifest:
    """A manifest of photos at a path or URL; paths in it are relative to its folder.

    Args:
        policy: whether its rows may be URLs.
        strict: whether a value that can't be stored makes its row fail; if not, as in Parquet, its column is left out.

    Raises:
        BadSource: no store understands its URL.
    """

    def __init__(self, source: str, policy: SourcePolicy, *, strict: bool = True) -> None:
        self._source = source
        self._name = display(source)
        self._policy = policy
        self._uri = store_of(source).canonical(source)
        inner, chain, archive = self._uri.partition(CHAIN)
        self._end = chain + archive
        self._columns: dict[str, None] = {}  # the names of all columns, in their order
        self._is_strict = strict and _suffix(source) != ".parquet"
        self._folder = inner.rpartition("/")[0] if is_url(source) else os.fspath(path_of(self._uri).parent)

    @property
    def folder_uri(self) -> str:
        """The start of the URIs of photos in its folder, which ends with a slash."""
        return f"{self._folder if is_url(self._folder) else file_uri(self._folder)}".removesuffix("/") + "/"

    def photos(self, on_skipped: OnSkipped | None = None, report: ListingReport | None = None) -> Iterator[PhotoRef]:
        """The photo of each row, with its label, split and other columns.

        If several rows name one photo, the last one is used, in its place. The report gets the photos for which such
        rows have different labels or splits, and the number of photos for which there is no column of labels.

        Args:
            on_skipped: called with each row that names no photo.
            report: gets the notices.

        Raises:
            BadSource: the file can't be read, has no column `path`, or, without `on_skipped`, a row names no photo.
        """
        report = report or ListingReport()
        with store_of(self._source).open_file(self._source) as file:
            repeated = self._repeated(file, report)
            file.seek(0)
            without_column = 0
            for photo in self._rows(file, on_skipped, report):
                if not repeated.is_last(photo):
                    continue
                report.found_label(photo.label)
                without_column += photo.label_is_default
                yield photo
        if without_column and not any(name.strip().lower() == "label" for name in self._columns):
            report.missing_labels.append(
                f"{self._name} has no column label: {count_of(without_column)} without one. {self._advice()}"
            )
        repeated.report_to(report, self._name)

    def _advice(self) -> str:
        """What the columns are, and which of them may be the labels."""
        alike = [name for name in self._columns if name.strip().lower() in LABELS]
        advice = f" Rename {' or '.join(map(display, alike))} to label." if alike else ""
        return f"Its columns are {', '.join(map(display, self._columns))}.{advice}"

    def _repeated(self, file: BinaryIO, report: ListingReport) -> "_Repeated":
        """The photos that several rows name; memory is a few bytes per row.

        The report gets the kinds of the columns.
        """
        hashes = array("q")
        for photo in self._rows(file, lambda _: None, ListingReport()):
            report.columns.see(photo.extra)
            hashes.append(hash(photo.uri))
        return _Repeated(hashes)

    def _rows(self, file: BinaryIO, on_skipped: OnSkipped | None, report: ListingReport) -> Iterator[PhotoRef]:
        """The photo of each row."""
        for number, row in read_table(file, _suffix(self._source), self._name, frozenset(PATHS)):
            try:
                photo = self._photo(row, f"{self._name}, line {number}", report)
            except BadSource as error:
                if on_skipped is None:
                    raise
                on_skipped(Failure(f"{self._uri}{LINE}{number}", error.message))
                continue
            if photo is not None:
                yield photo

    def _photo(self, row: Values | BadSource, where: str, report: ListingReport) -> PhotoRef | None:
        """The photo of a row; None if the row is a comment."""
        if isinstance(row, BadSource):
            raise BadSource(f"{where}, {row.message}", row.remedy)
        columns = _columns_of(tuple(row), self._name)
        self._columns |= dict.fromkeys(row)
        if _is_comment(row) and not self._exists(row, columns):
            return None
        path, label, split = _value(row, columns.path), _value(row, columns.label), _value(row, columns.split)
        if not isinstance(path, str) or not path.strip():
            raise BadSource(f"{where}, has no path.", "Give it the columns path,label[,split].")
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        for column, value in (("label", label), ("split", split)):
            if not isinstance(value, str | None):
                raise BadSource(f"{where}: the {column} {_shown(value)} is not text.", "Put it in quotes.")
        return PhotoRef(
            self._uri_of(path, where, report),
            normalized(label and self._readable(label, report)),
            (split or "").strip() or None,
            self._extra(row, columns, where, report),
            label_is_default=columns.label is None,
        )

    def _uri_of(self, name: str, where: str, report: ListingReport) -> str:
        try:
            if is_url(self._folder) or is_url(name):
                target = name if is_url(name) else f"{self._folder}/{self._readable(name, report)}{self._end}"
                target.encode()
            else:
                return file_uri(os.path.normpath(os.path.join(self._folder, self._existing(name, report))))
        except UnicodeEncodeError:
            raise BadSource(f"{where}: no file can have the name {display(name)}.", "Correct the path.") from None
        if not self._policy.allow_urls:
            raise BadSource(f"{where}: {display(name)} is a URL.", "Only the command line may index what it names.")
        return store_of(target).canonical(target)

    def _existing(self, name: str, report: ListingReport) -> str:
        """A path as the file that it names is called; unusual ones are compared with the files that exist."""
        if name.isascii() and name == name.strip() and "\\" not in name:
            return name
        if os.path.lexists(os.path.join(self._folder, name)):
            return name
        readable = self._readable(name, report).strip()
        slashes = readable.replace("\\", "/")
        return slashes if os.path.lexists(os.path.join(self._folder, slashes)) else readable

    def _exists(self, row: Values, columns: "_Columns") -> bool:
        """Whether the path of a row that starts like a comment is a file on this machine."""
        path = _value(row, columns.path)
        return isinstance(path, str) and not is_url(self._folder) and Path(self._folder, path).is_file()

    def _readable(self, text: str, report: ListingReport) -> str:
        """A text with bytes that are not UTF-8, read as Windows-1252; unchanged if it is not in that either."""
        if text.isascii() or not any("\udc80" <= char <= "\udcff" for char in text):
            return text
        try:
            read = text.encode("utf-8", "surrogateescape").decode("cp1252")
        except UnicodeError:
            return text
        report.notice(f"{self._name} is not in UTF-8, and is read as Windows-1252.")
        return read

    def _extra(self, row: Values, columns: "_Columns", where: str, report: ListingReport) -> Extra:
        """The values of a row in other columns; empty ones are left out."""
        extra: Extra = {}
        for column, name in columns.others:
            value = row[column]
            if value is None or value in ("", []):
                continue
            found = [one for one in value if one is not None] if isinstance(value, list) else [value]
            if all(isinstance(one, str) or (isinstance(one, int | float) and _is_storable(one)) for one in found):
                values = [display(self._readable(one, report)) if isinstance(one, str) else one for one in found]
                extra[name] = values if isinstance(value, list) else values[0]
            elif self._is_strict:
                remedy = "Give it text, a number, true or false, or a list of these."
                raise BadSource(f"{where}: {name} is {_shown(value)}.", remedy)
            else:
                report.notice(f"The column {name} of {self._name} is left out: its values can't be stored.")
        return extra


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a row that describe its photo, by their names in the file; None if there is none."""

    path: str | None
    label: str | None
    split: str | None
    others: tuple[tuple[str, str], ...]  # those that are stored with the photo, each with its printable name


@lru_cache(1000)  # a CSV file has one list of columns; rows of JSON may have different ones
def _columns_of(names: tuple[str, ...], source: str) -> _Columns:
    """Find the columns of a row, in any case; raises `BadSource` if two have the same name."""
    by_name: dict[str, str] = {}
    for name in names:
        plain = name.strip().lower()
        if plain in (*PATHS, *LABELS, "split") and plain in by_name:
            raise BadSource(f"{source} has the columns {by_name[plain]} and {name}.", "Rename or remove one of them.")
        by_name[plain] = name
    path = next((by_name[name] for name in PATHS if name in by_name), None)
    alike = [by_name[name] for name in LABELS[1:] if name in by_name]
    label = by_name.get("label") or (alike[0] if len(alike) == 1 else None)
    split = by_name.get("split")
    own = {path, by_name.get("label"), split}
    return _Columns(path, label, split, tuple((name, display(name)) for name in names if name not in own))


class _Repeated:
    """The photos that several rows of a manifest name, and the differences between these rows."""

    def __init__(self, hashes: Sequence[int]) -> None:
        values, counts = np.unique(np.asarray(hashes, np.int64), return_counts=True)
        self._left = dict(zip(values[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True))
        self._before: dict[int, PhotoRef] = {}
        self._conflicts: dict[str, list[tuple[PhotoRef, PhotoRef]]] = {"label": [], "split": []}

    def is_last(self, photo: PhotoRef) -> bool:
        """Whether the row of a photo is the last one that names it."""
        key = hash(photo.uri)
        if key not in self._left:
            return True
        self._left[key] -= 1
        if before := self._before.get(key):
            for kind, pairs in self._conflicts.items():
                if getattr(before, kind) != getattr(photo, kind):
                    pairs.append((before, photo))
        self._before[key] = photo
        return not self._left[key]

    def report_to(self, report: ListingReport, source: str) -> None:
        """Report the photos that have different labels or splits."""
        for kind, pairs in self._conflicts.items():
            if pairs:
                path = display_uri(pairs[0][0].uri)
                values = " and ".join(repr(getattr(photo, kind)) for photo in pairs[0])
                report.conflict(f"{path} has two {kind}s in {source}, {values}.")
                if kind == "label":
                    others = f", and so have {len(pairs) - 1:,} others" if len(pairs) > 1 else ""
                    report.notice(f"{path} has two labels in {source}, {values}{others}; the last one is used.")


def _value(row: Values, column: str | None) -> Any:
    return None if column is None else row.get(column)


def _shown(value: object) -> str:
    """A value as JSON, as it is written in the manifest."""
    return display(json.dumps(value, ensure_ascii=False, default=str))


def _is_comment(row: Values) -> bool:
    first = next(iter(row.values()), None)
    return isinstance(first, str) and first.startswith(COMMENT)


def _is_storable(value: float) -> bool:
    """Whether an index can store a number: infinite ones and integers of more than 64 bits can't be stored."""
    return math.isfinite(value) and abs(value) < 2**63


def _suffix(source: str) -> str:
    return table_suffix(source.partition(CHAIN)[0].partition("?")[0] if is_url(source) else source)
