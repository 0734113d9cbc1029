"""Importing an export: the photos and vectors of a file into the index of a model, without embedding them again."""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from indexer.batches import batches
from indexer.export.formats import MODEL, require_parquet
from indexer.export.imported_columns import ImportedColumns
from indexer.index_ranks import renew_ranks
from retrieval.bundle import Bundle
from retrieval.errors import BadSource, IndexUnreadable, os_errors_as
from retrieval.index import IndexStore, Payload, Point
from retrieval.index.vectors import Vector
from retrieval.parts import KIND, LOOK
from retrieval.photo_ref import display

WRITTEN_AT_ONCE = 1000
TOLERANCE = 1e-3  # by which the length of a vector may differ from 1

READ = ("id", "uri", "label", KIND, LOOK, "payload")  # the columns that an import needs

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VectorImport:
    """What was imported."""

    model: str
    photos: int
    current: str  # the current model; the imported one if there was none


def import_vectors(store: IndexStore, bundle: Bundle, source: Path, on_progress: Callable[[int], None]) -> VectorImport:
    """Add the photos of an exported file to the index of a model; photos with the same ids are replaced.

    The label of a row replaces that of its payload. It is safe to repeat an import that was interrupted.

    Args:
        bundle: of the model that made the vectors.
        source: a Parquet or JSON Lines file as `lookalike export` writes them.
        on_progress: called with the number of photos that were written.

    Raises:
        BadSource: the file is no such export, is of another model, or one of its rows is wrong; earlier rows are kept.
        IndexWriteFailed: the index can't be written.
    """
    photos = 0
    with store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
        columns = ImportedColumns(index)
        index.upgrade()
        for points in batches(_points(source, bundle), WRITTEN_AT_ONCE):
            for point in points:
                columns.see(point.payload)
            index.upsert(points)
            index.flush()
            photos += len(points)
            on_progress(photos)
        columns.save()
        renew_ranks(index)
        index.optimize()
        index.save_count()
    return VectorImport(bundle.model_id, photos, store.activate_first(bundle.model_id))


def _points(source: Path, bundle: Bundle) -> Iterator[Point]:
    name = display(source)
    readers = {".parquet": _parquet_rows, ".jsonl": _json_rows}
    read = readers.get(source.suffix.lower())
    if read is None:
        raise BadSource(f"{name} is neither a .parquet nor a .jsonl file.", "Export to one of these formats.")
    with os_errors_as(BadSource, f"{name} can't be read", "Check its name and permissions."):
        for number, row in enumerate(read(source, bundle.model_id), 1):
            try:
                yield _point(row, bundle)
            except (KeyError, TypeError, ValueError, IndexUnreadable) as error:
                reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
                raise BadSource(
                    f"Row {number:,} of {name} can't be imported ({reason}).",
                    "Export the index again; the rows before this one were imported.",
                ) from None


def _point(row: Row, bundle: Bundle) -> Point:
    for name in ("id", "uri", "label", "payload"):
        if not isinstance(row[name], str) and not (name == "label" and row[name] is None):
            raise TypeError(f"its {name} is not text")
    payload = Payload.from_dict(json.loads(row["payload"]))
    payload = replace(payload, uri=row["uri"], label=row["label"], ranks={})
    return Point(uuid.UUID(row["id"]), _vector(row, bundle), payload)


def _vector(row: Row, bundle: Bundle) -> Vector:
    parts = [_part(row[part.name], part.name, part.length) for part in bundle.manifest.parts]
    vector = np.concatenate(parts)
    if not abs(float(np.linalg.norm(vector)) - 1) < TOLERANCE:
        raise ValueError("its vector does not have the length 1")
    return vector


def _part(values: Any, name: str, length: int) -> Vector:
    part = np.asarray([] if values is None else values, np.float32)
    if part.shape != (length,):
        raise ValueError(f"{name} has {part.size} numbers, and {length} with this model")
    return part


def _json_rows(source: Path, _model: str) -> Iterator[Row]:
    with source.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise _not_an_export(source, f"line {number:,} is not JSON, {error}") from None
            if not isinstance(row, dict):
                raise _not_an_export(source, f"line {number:,} is not a JSON object")
            yield row


def _parquet_rows(source: Path, model: str) -> Iterable[Row]:
    require_parquet()
    from pyarrow import ArrowException  # noqa: PLC0415 - an extra
    from pyarrow.parquet import ParquetFile  # noqa: PLC0415

    try:
        with source.open("rb") as file:
            table = ParquetFile(file)
            made_by = (table.schema_arrow.metadata or {}).get(MODEL, model.encode()).decode()
            if made_by != model:
                raise BadSource(
                    f"{display(source)} has the vectors of the model {made_by}.", f"Import it with --model {made_by}."
                )
            wanted = [name for name in table.schema_arrow.names if name in READ]
            for batch in table.iter_batches(WRITTEN_AT_ONCE, columns=wanted, use_threads=False):
                columns = [_values(batch.column(name)) for name in wanted]
                for row in zip(*columns, strict=True):
                    yield dict(zip(wanted, row, strict=True))
    except ArrowException as error:
        raise _not_an_export(source, display(str(error))) from None


def _not_an_export(source: Path, reason: str) -> BadSource:
    return BadSource(f"{display(source)} was not written by `lookalike export` ({reason}).", "Export the index again.")


def _values(column: Any) -> Iterable[Any]:
    """The values of a column; those of vectors as rows of an array."""
    length = getattr(column.type, "list_size", 0)
    if length and not column.null_count:
        return column.flatten().to_numpy(zero_copy_only=False).reshape(-1, length)  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]
