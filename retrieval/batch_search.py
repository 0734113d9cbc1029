"""A search for each of many photos; the results are written to a JSONL or CSV file."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from retrieval.csv_cells import csv_cell
from retrieval.errors import BadQuery, LookalikeError, UnreadablePhoto, os_errors_as
from retrieval.files import completed
from retrieval.listing import list_photos
from retrieval.listing_options import ListingOptions
from retrieval.photo_ref import PhotoRef, display, uri_of
from retrieval.search import Searcher, SearchParameters
from retrieval.search_response import SearchResponse
from retrieval.source_policy import SourcePolicy
from retrieval.stores import Failure, read_photo

COLUMNS = ("query", "rank", "id", "uri", "label", "score", "distance", "error")
REMEDY = "Name another file with --to, or free disk space."

Write = Callable[[str, SearchResponse | Failure], None]


@dataclass(slots=True)
class BatchSearch:
    """How many photos were searched for, and those that could not be."""

    searched: int = 0
    failures: list[Failure] = field(default_factory=list)


def search_all(
    searcher: Searcher,
    photos: Iterable[PhotoRef],
    parameters: SearchParameters,
    target: Path,
    on_progress: Callable[[], None],
) -> BatchSearch:
    """Search for each photo, and write the results to a file, which is complete or absent.

    A line of JSONL has the fields of a search and `query`, the URI of the photo, or `query` and `error`. A line of CSV
    is one result, or the error of one query.

    Args:
        target: a .jsonl or .csv file, which is replaced.
        on_progress: called after each photo.

    Raises:
        BadQuery: the name of the target has another suffix.
        LookalikeError: the target can't be written.
    """
    done = BatchSearch()
    with _writing(target) as write:
        for photo in photos:
            try:
                found = searcher.by_photo(
                    read_photo(photo, searcher.decoder.policy.max_bytes), parameters, uri=photo.uri
                )
                write(photo.uri, found)
            except UnreadablePhoto as error:
                done.failures.append(Failure(photo.uri, error.message))
                write(photo.uri, done.failures[-1])
            done.searched += 1
            on_progress()
    return done


def photos_of(
    names: Sequence[Path], policy: SourcePolicy, options: ListingOptions, failures: list[Failure]
) -> Iterator[PhotoRef]:
    """Yield the named photos, and those of the named folders.

    Raises `BadSource` if a folder can't be listed; folders below it that can't be are added to `failures`.
    """
    for name in names:
        if name.is_dir():
            yield from list_photos(name, "none", failures.append, policy, options=options)
        else:
            yield PhotoRef(uri_of(name))


def require_known_suffix(target: Path) -> None:
    """Raise `BadQuery` if the name of a file ends with neither .jsonl nor .csv."""
    if target.suffix.lower() not in WRITERS:
        raise BadQuery(f"{display(target)} is neither a .jsonl nor a .csv file.", "Name one of these with --to.")


@contextmanager
def _writing(target: Path) -> Iterator[Write]:
    """Yield a function that writes the response to a query; after the context, the file is in its place."""
    require_known_suffix(target)
    failing = os_errors_as(LookalikeError, f"{display(target)} can't be written", REMEDY)
    with (
        failing,
        completed(target) as path,
        path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        yield WRITERS[target.suffix.lower()](file)


def _jsonl(file: IO[str]) -> Write:
    def write(query: str, found: SearchResponse | Failure) -> None:
        fields = {"error": found.reason} if isinstance(found, Failure) else asdict(found)
        file.write(json.dumps({"query": query, **fields}, ensure_ascii=False, default=str) + "\n")

    return write


def _csv(file: IO[str]) -> Write:
    rows = csv.writer(file)
    rows.writerow(COLUMNS)

    def row(values: Mapping[str, Any]) -> Iterator[Any]:
        return (csv_cell(values.get(column)) for column in COLUMNS)

    def write(query: str, found: SearchResponse | Failure) -> None:
        if isinstance(found, Failure):
            rows.writerow(row({"query": query, "error": found.reason}))
            return
        results = ({"query": query, "rank": rank, **asdict(each)} for rank, each in enumerate(found.results, 1))
        rows.writerows(map(row, results))

    return write


WRITERS = {".jsonl": _jsonl, ".csv": _csv}
