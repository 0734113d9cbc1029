"""The formats of an export: Parquet, JSON Lines, CSV, and NumPy's with the ids beside it."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from indexer.export.table import Batch, Column, Type
from retrieval.csv_cells import csv_cell
from retrieval.errors import BadQuery, LookalikeError, os_errors_as
from retrieval.files import completed
from retrieval.photo_ref import display

REMEDY = "Name another file with --to, or free disk space."
MODEL = b"lookalike.model"  # the key of the model's id in the metadata of a Parquet file
TYPES = {"text": "string", "integer": "int64", "number": "float64", "flag": "bool"}  # of Arrow
PYTHON_TYPES: dict[Type, type] = {"text": str, "integer": int, "number": float, "flag": bool}

UNIQUE = ("id", "uri", "payload")  # a dictionary of their values would be as large as they are

Write = Callable[[Batch], None]


@contextmanager
def writing(target: Path, model: str, columns: Sequence[Column]) -> Iterator[Write]:
    """Yield a function that appends rows to a file; after the context it is complete, and absent if there was an error.

    Args:
        target: a .parquet, .jsonl, .csv or .npy file, which is replaced.
        model: the id of the model.
        columns: of all rows.

    Raises:
        BadQuery: the name has another suffix, or the package that writes the format is not installed.
        LookalikeError: the file can't be written.
    """
    require_known_suffix(target)
    with os_errors_as(LookalikeError, f"{display(target)} can't be written", REMEDY), ExitStack() as opened:
        path = opened.enter_context(completed(target))
        yield opened.enter_context(FORMATS[target.suffix.lower()](path, target, model, columns))


def require_known_suffix(target: Path) -> None:
    """Raise `BadQuery` if a file's name does not end with the suffix of a format that can be written here."""
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise BadQuery(f"{display(target)} has no suffix of an export format.", f"Use one of {', '.join(FORMATS)}.")
    if suffix == ".parquet":
        require_parquet()


def require_parquet() -> None:
    """Raise `BadQuery` if Parquet files can't be read and written."""
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise BadQuery(f"Parquet is not available ({error}).", "Install the extra `lookalike[parquet]`.") from None


@contextmanager
def _parquet(path: Path, _target: Path, model: str, columns: Sequence[Column]) -> Iterator[Write]:
    import pyarrow as pa  # noqa: PLC0415 - an extra
    from pyarrow.parquet import ParquetWriter  # noqa: PLC0415

    def arrow_type(column: Column) -> Any:
        if column.type != "vector":
            one = pa.type_for_alias(TYPES[column.type])
            return pa.list_(one) if column.has_lists else one
        return pa.list_(pa.float32(), column.length) if column.length else pa.list_(pa.float32())

    def array(column: Column, values: Any) -> Any:
        if isinstance(values, np.ndarray):
            return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), column.length)
        if not column.has_lists and column.type != "number":  # of which Arrow converts flags and refuses large integers
            with suppress(pa.ArrowException):  # there are values of other types
                return pa.array(values, arrow_type(column))
        return pa.array(_fitting(column, values), arrow_type(column))

    fields = [pa.field(column.name, arrow_type(column)) for column in columns]
    schema = pa.schema(fields, metadata={MODEL: model.encode()})
    texts = [column.name for column in columns if column.type == "text" and column.name not in UNIQUE]
    codecs = {column.name: "NONE" if column.type == "vector" else "ZSTD" for column in columns}

    def write(batch: Batch) -> None:
        arrays = [array(column, batch.values[column.name]) for column in columns]
        writer.write_batch(pa.record_batch(arrays, schema=schema))

    # The file is opened here, so that its errors are those of the system.
    with (
        path.open("wb") as file,
        ParquetWriter(file, schema, compression=codecs, use_dictionary=texts, write_statistics=False) as writer,
    ):
        yield write


@contextmanager
def _jsonl(path: Path, _target: Path, _model: str, columns: Sequence[Column]) -> Iterator[Write]:
    names = [column.name for column in columns]

    def write(batch: Batch) -> None:
        for row in _rows(batch, columns):
            file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) + "\n")

    with path.open("w", encoding="utf-8") as file:
        yield write


@contextmanager
def _csv(path: Path, _target: Path, _model: str, columns: Sequence[Column]) -> Iterator[Write]:
    def write(batch: Batch) -> None:
        for row in _rows(batch, columns):
            table.writerow(map(csv_cell, row))

    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(csv_cell(column.name) for column in columns)
        yield write


@contextmanager
def _npy(path: Path, target: Path, _model: str, columns: Sequence[Column]) -> Iterator[Write]:
    """The embeddings, float32 [photos, d], and their ids, one on a line, in FILE.ids.txt."""
    dimension = sum(column.length for column in columns)
    photos = 0

    def write_header() -> None:
        """Its length does not depend on the number of photos: NumPy reserves space for it to grow."""
        header = {"descr": "<f4", "fortran_order": False, "shape": (photos, dimension)}
        np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]

    def write(batch: Batch) -> None:
        nonlocal photos
        file.write(batch.vectors.astype("<f4", copy=False).tobytes())
        ids.writelines(f"{photo}\n" for photo in batch.values["id"])
        photos += len(batch.vectors)

    with (
        completed(target.with_name(f"{target.name[: -len(target.suffix)]}.ids.txt")) as path_of_ids,
        path.open("wb") as file,
        path_of_ids.open("w") as ids,
    ):
        write_header()
        yield write
        file.seek(0)
        write_header()


def _fitting(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    """The values of a column without those that its type can't hold; lists if some of them are lists."""
    if not column.has_lists:
        return [_fitted(column.type, value) for value in values]
    lists = (value if isinstance(value, list) else [value] for value in values)
    fitted = ([_fitted(column.type, one) for one in each] for each in lists)
    return [[one for one in each if one is not None] or None for each in fitted]


def _fitted(type: Type, value: Any) -> Any:
    if type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if isinstance(value, PYTHON_TYPES[type]) else None


def _rows(batch: Batch, columns: Sequence[Column]) -> Iterator[tuple[Any, ...]]:
    """The rows of a batch, as JSON types; the float64 values of vectors are exactly those of float32."""
    values = (batch.values[column.name] for column in columns)
    return zip(*(each.tolist() if isinstance(each, np.ndarray) else each for each in values), strict=True)


FORMATS = {".parquet": _parquet, ".jsonl": _jsonl, ".csv": _csv, ".npy": _npy}
