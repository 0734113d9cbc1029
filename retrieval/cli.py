"""`lookalike search`."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from retrieval.batch_search import photos_of, require_known_suffix, search_all
from retrieval.columns.schema import ColumnSchema, read_schema
from retrieval.columns.where import group_field, parse_where
from retrieval.console import JsonFlag, messages, print_result, say
from retrieval.current_model import open_searcher
from retrieval.errors import BadQuery, UnreadablePhoto
from retrieval.index import Filter, open_store
from retrieval.listing import no_photos
from retrieval.listing_options import ListingOptions
from retrieval.photo_ref import display, display_uri, file_uri, is_url, uri_of
from retrieval.search import MOST_RESULTS, Searcher, SearchParameters
from retrieval.search_response import SearchResponse
from retrieval.settings import Settings, load_settings
from retrieval.stores import Failure, read_file
from retrieval.terms import Term
from retrieval.wording import count_of

SHOWN_FAILURES = 10


def search(  # noqa: PLR0917 - a command line is all options
    photos: Annotated[
        list[Path] | None,
        typer.Argument(help="The photo to search with; several photos or folders with --to.", metavar="PHOTO..."),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="Words that describe the photos, alone or beside a photo, with equal weights.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=MOST_RESULTS, help="The number of results.")] = 10,
    label: Annotated[list[str] | None, typer.Option(help="Only photos with this label; repeat for several.")] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="""Only photos with these values of columns: '{"price": {"gte": 10}}'."""),
    ] = None,
    exact: Annotated[bool, typer.Option(help="Compare with every photo instead of using the HNSW graph.")] = False,
    look: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="0: photos of the same kind, 1: of the same look. Default: set by the model."),
    ] = None,
    group_by: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Only the nearest photo for each value of this column.")
    ] = None,
    diversity: Annotated[
        float, typer.Option(min=0, max=1, help="0: the nearest photos, 1: photos that differ from each other.")
    ] = 0,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the results to this .jsonl or .csv file, for many photos."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find photos that look like a given photo, or like each of many, or that words describe."""
    settings = load_settings()
    parameters = SearchParameters(k=k, filter=Filter(tuple(label or ())), exact=exact, look=look, diversity=diversity)
    photos = photos or []
    if not photos and text is None:
        raise typer.BadParameter("name a photo, or describe the photos with --text", param_hint="PHOTO")
    if to is not None:
        if text is not None:
            raise BadQuery("The results of a search by words are not written to a file.", "Leave --to or --text out.")
        require_known_suffix(to)
        _search_all(settings, photos, parameters, to, as_json, where=where, group_by=group_by)
        return
    if len(photos) > 1 or any(photo.is_dir() for photo in photos):
        raise BadQuery(
            "The results of searches for several photos are written to a file.", "Name it: --to results.jsonl"
        )
    contents = {photo: read_file(photo, settings.source_policy().max_bytes) for photo in photos}
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        response = _search_one(searcher, contents, text, _with_columns(searcher, parameters, where, group_by))
        if not response.results:
            _say_if_empty(searcher)
    print_result(asdict(response), as_json, _table(response))


def _search_one(
    searcher: Searcher, photos: Mapping[Path, bytes], text: str | None, parameters: SearchParameters
) -> SearchResponse:
    """Search for a photo, words or both; `photos` has the content of the photo, if there is one."""
    terms = [] if text is None else [Term(text=text)]
    for photo, data in photos.items():
        try:
            if text is None:
                return searcher.by_photo(data, parameters, uri=uri_of(photo))
            terms.append(Term(vector=searcher.embed(data)[0]))
        except UnreadablePhoto as error:
            raise UnreadablePhoto(f"{display(photo)} can't be used. {error.message}", error.remedy) from None
    return searcher.by_terms(terms, parameters)


def _search_all(
    settings: Settings,
    names: Sequence[Path],
    parameters: SearchParameters,
    to: Path,
    as_json: bool,
    *,
    where: str | None,
    group_by: str | None,
) -> None:
    """Search for photos and those of folders; exit with 1 if none could be used."""
    failures: list[Failure] = []
    policy = settings.source_policy()
    photos = list(photos_of(names, policy, ListingOptions(home=settings.home), failures))
    if not photos:
        raise no_photos(names[0], policy)
    with open_store(settings) as store, open_searcher(settings, store) as searcher, _progress(len(photos)) as advance:
        done = search_all(searcher, photos, _with_columns(searcher, parameters, where, group_by), to, advance)
        _say_if_empty(searcher)
    failures += done.failures
    for failure in failures[:SHOWN_FAILURES]:
        name = display_uri(failure.uri)
        say(failure.reason if name in failure.reason else f"{name}: {failure.reason}", "yellow")
    listed = [asdict(failure) for failure in failures]
    result = {"to": str(to), "searched": done.searched, "failed": len(failures), "failures": listed}
    text = f"{count_of(done.searched)}, {len(failures):,} failed; the results are in {display(to)}."
    print_result(result, as_json, escape(text))
    if len(done.failures) == done.searched:
        raise typer.Exit(1)


def _with_columns(
    searcher: Searcher, parameters: SearchParameters, where: str | None, group_by: str | None
) -> SearchParameters:
    """Add what refers to columns to the parameters of a search; raises `BadQuery` if it is wrong."""
    schema = read_schema(searcher.index) or ColumnSchema()
    condition = None if where is None else parse_where(where, schema, _uri_starts)
    field = None if group_by is None else group_field(group_by, schema)
    return replace(parameters, filter=replace(parameters.filter, where=condition), group_by=field)


def _uri_starts(path: str) -> list[str]:
    """The beginning of the URIs of photos with a path that starts with a text, as results show paths."""
    return [path if is_url(path) else file_uri(os.path.join(Path.cwd(), path))]


def _say_if_empty(searcher: Searcher) -> None:
    if not searcher.index.count():
        say(f"The index of {searcher.index.model} is empty. Index photos with `lookalike index FOLDER`.", "yellow")


@contextmanager
def _progress(photos: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar on a terminal; yield what advances it by a photo."""
    columns = TextColumn("Searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=messages, disable=not messages.is_terminal)
    task = bar.add_task("search", total=photos)
    with bar:
        yield lambda: bar.advance(task)


def _table(response: SearchResponse) -> Table:
    table = Table("score", "distance", "label", Column("photo", no_wrap=True), box=None, header_style="bold")
    for result in response.results:
        texts = escape(result.label or ""), escape(display_uri(result.uri))
        table.add_row(f"{result.score:.4f}", f"{result.distance:.4f}", *texts)
    return table
