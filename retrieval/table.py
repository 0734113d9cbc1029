"""Tables as rows: CSV files as spreadsheets write them, JSON Lines and Parquet."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from decimal import Decimal
from itertools import chain
from typing import Any, BinaryIO, TextIO

from retrieval.csv_cells import cell_text
from retrieval.errors import BadSource
from retrieval.photo_ref import display

SUFFIXES = (".csv", ".jsonl", ".parquet")
DELIMITERS = (",", ";", "\t")
COMMENT = "#"
BYTE_ORDER_MARKS = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SNIFFED = 4096  # bytes
ROWS_AT_ONCE = 1000

Values = Mapping[str, Any]
Row = tuple[int, Values | BadSource]  # the number of a row, and its values or the error: "has …", "is …"


def read_table(file: BinaryIO, suffix: str, name: str, known: frozenset[str]) -> Iterator[Row]:
    """The rows of a table, empty ones left out; the number of a row is that of its line, or counts rows in Parquet.

    Args:
        file: positioned at its start; it stays open.
        suffix: of the file's name, one of `SUFFIXES`.
        name: the printable name of the file, for error messages.
        known: names of columns, in lower case; the delimiter of a CSV file is one that splits its first line so that a
            column has one of them.

    Raises:
        BadSource: the file is not such a table, or the package that reads it is not installed.
    """
    if suffix == ".parquet":
        yield from _parquet_rows(file, name)
        return
    try:
        with _text(file) as lines:
            yield from _csv_rows(lines, name, known) if suffix == ".csv" else _json_rows(lines, name)
    except UnicodeDecodeError as error:
        raise BadSource(f"{name} is not text in {error.encoding.upper()}.", "Save it as UTF-8.") from None


@contextmanager
def _text(file: BinaryIO) -> Iterator[TextIO]:
    """A file as text in UTF-8, UTF-16 or UTF-32; bytes that are not UTF-8 become surrogate escapes."""
    start = file.read(SNIFFED)
    file.seek(0)
    text = io.TextIOWrapper(file, _encoding(start), errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()


def _encoding(start: bytes) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return encoding
    if b"\0" in start:  # text has no zero bytes in UTF-8, and mostly zeros as second bytes in UTF-16
        return "utf-16-le" if start[1::2].count(0) > start[::2].count(0) else "utf-16-be"
    return "utf-8-sig"


def _csv_rows(lines: Iterable[str], name: str, known: frozenset[str]) -> Iterator[Row]:
    lines = iter(lines)
    first, skipped = _first_line(lines)
    try:
        delimiter, columns = _header(first, name, known)
        is_spaced = any(column != column.strip() for column in columns)
        columns = [column.strip() for column in columns]
        names = [cell_text(column) for column in columns]
        reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=is_spaced)
        for cells in reader:
            values = [cell_text(cell.rstrip() if is_spaced else cell) for cell in cells]
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and stripped != columns:  # the first line, which tables that were joined repeat
                yield reader.line_num + skipped, _values(values, names)
    except csv.Error as error:
        raise BadSource(f"{name} is not a CSV file ({error}).", "Save it as CSV in UTF-8.") from None


def _first_line(lines: Iterator[str]) -> tuple[str, int]:
    """The first line that is neither empty nor a comment, and the number of lines before it."""
    for skipped, line in enumerate(lines):
        if line.strip() and not line.startswith(COMMENT):
            return line, skipped
    return "", 0


def _header(line: str, name: str, known: frozenset[str]) -> tuple[str, list[str]]:
    """The delimiter of a CSV file and the names of its columns, of which one must be known."""
    readings = {delimiter: next(csv.reader([line], delimiter=delimiter), []) for delimiter in DELIMITERS}
    for delimiter, columns in readings.items():
        if known & {column.strip().lower() for column in columns}:
            _check_columns([column.strip() for column in columns], name)
            return delimiter, columns
    raise no_path(max(readings.values(), key=len), name)


def no_path(columns: Sequence[str], name: str) -> BadSource:
    """The error that a table with these columns has no column for the paths of photos."""
    shown = ", ".join(display(column.strip()) for column in columns)
    return BadSource(
        f"{name} has no column path." + (f" Its columns are {shown}." if shown else " It is empty."),
        "Give it the columns path,label[,split].",
    )


def _check_columns(columns: Sequence[str], name: str) -> None:
    """Raise `BadSource` if two columns have the same name."""
    for column in columns:
        if column and columns.count(column) > 1:
            shown = ", ".join(map(display, columns))
            raise BadSource(f"{name} has several columns {display(column)}: {shown}.", "Rename or remove one of them.")


def _values(cells: Sequence[str], columns: Sequence[str]) -> Values | BadSource:
    if any(cells[len(columns) :]):
        return BadSource("has more columns than the first line names.", "Put values with commas in quotes.")
    return {column: cell for column, cell in zip(columns, cells, strict=False) if column}


def _json_rows(lines: Iterable[str], name: str) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(COMMENT):
            continue
        remedy = "Write one JSON object per line."
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, BadSource(f"is not JSON ({error}).", remedy)
            continue
        yield number, values if isinstance(values, dict) else BadSource("is not a JSON object.", remedy)


def _parquet_rows(file: BinaryIO, name: str) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException  # noqa: PLC0415 - an extra
        from pyarrow.parquet import ParquetFile  # noqa: PLC0415
    except ImportError as error:
        raise BadSource(f"{name} can't be read ({error}).", "Install the extra `lookalike[parquet]`.") from None
    try:
        table = ParquetFile(file)
        _check_columns(table.schema_arrow.names, name)
        batches = table.iter_batches(ROWS_AT_ONCE, use_threads=False)
        rows = chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, row in enumerate(rows, start=1):
            yield number, {column.strip(): _plain(value) for column, value in row.items()}
    except (ArrowException, OSError) as error:
        raise BadSource(f"{name} is not a Parquet file ({display(str(error))}).", "Write it again.") from None


def _plain(value: object) -> object:
    """A value of Parquet as one of JSON; NaN, which pandas writes for a missing value, as None."""
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return float(value) if isinstance(value, Decimal) else value


def table_suffix(path: str) -> str:
    """The suffix of a file's name, in lower case."""
    return os.path.splitext(path)[1].lower()
