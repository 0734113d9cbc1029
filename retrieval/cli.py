"""`lookalike search`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from retrieval.console import JsonFlag, print_result
from retrieval.current_model import open_searcher
from retrieval.errors import UnreadablePhoto
from retrieval.index import Filter, open_store
from retrieval.photo_ref import display, display_uri, uri_of
from retrieval.search import MOST_RESULTS, SearchParameters
from retrieval.search_response import SearchResponse
from retrieval.settings import load_settings
from retrieval.stores import read_file


def search(  # noqa: PLR0917 - a command line is all options
    photo: Annotated[Path, typer.Argument(help="The photo to search with.")],
    k: Annotated[int, typer.Option("-k", min=1, max=MOST_RESULTS, help="The number of results.")] = 10,
    label: Annotated[list[str] | None, typer.Option(help="Only photos with this label; repeat for several.")] = None,
    exact: Annotated[bool, typer.Option(help="Compare with every photo instead of using the HNSW graph.")] = False,
    look: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="0: photos of the same kind, 1: of the same look. Default: set by the model."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find photos that look like a given photo."""
    settings = load_settings()
    parameters = SearchParameters(k=k, filter=Filter(tuple(label or ())), exact=exact, look=look)
    data = read_file(photo, settings.source_policy().max_bytes)
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        try:
            response = searcher.by_photo(data, parameters, uri=uri_of(photo))
        except UnreadablePhoto as error:
            raise UnreadablePhoto(f"{display(photo)} can't be used. {error.message}", error.remedy) from None
    print_result(asdict(response), as_json, _table(response))


def _table(response: SearchResponse) -> Table:
    table = Table("score", "distance", "label", Column("photo", no_wrap=True), box=None, header_style="bold")
    for result in response.results:
        texts = escape(result.label or ""), escape(display_uri(result.uri))
        table.add_row(f"{result.score:.4f}", f"{result.distance:.4f}", *texts)
    return table
