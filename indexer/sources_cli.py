"""`lookalike sources`: the sources of the index, and removed photos."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from indexer.exclusions import restore_excluded
from indexer.index_sources import forget_source, list_indexed_sources
from indexer.model_registry import open_index
from indexer.sources import lasting_name
from retrieval.console import JsonFlag, print_result, say
from retrieval.current_model import bundle_in_use
from retrieval.errors import NotFound
from retrieval.index import VectorIndex, open_store
from retrieval.photo_ref import display_uri, is_url
from retrieval.settings import load_settings
from retrieval.stores import store_of
from retrieval.wording import count_of

sources = typer.Typer(help="List and forget sources of the index, and restore removed photos.", no_args_is_help=True)


@sources.command("list")
def list_sources(as_json: JsonFlag = False) -> None:
    """List the folders and manifests that have been indexed, with the number of their photos."""
    with _open_index() as index:
        found, removed = list_indexed_sources(index)
    table = Table("source", "photos", "state", "indexed", box=None)
    for one in found:
        table.add_row(
            escape(display_uri(one.uri)), f"{one.photos:,}", "" if one.exists else "missing", one.indexed_at or ""
        )
    result = {"sources": [asdict(one) for one in found], "removed": removed.by_sync, "excluded": removed.by_person}
    print_result(result, as_json, table if found else "Nothing has been indexed yet.")
    if removed.by_sync or removed.by_person:
        say(
            f"Removed photos that can be restored: {removed.by_sync:,} that syncs removed, and {removed.by_person:,} "
            "that were removed by hand and are not indexed again."
        )


@sources.command("forget")
def forget(
    source: Annotated[str, typer.Argument(help="A folder or manifest, as a path or URL; it need not exist any more.")],
    as_json: JsonFlag = False,
) -> None:
    """Remove a source from the index, and its photos unless another source names them."""
    settings = load_settings()
    with _open_index() as index:
        removed = forget_source(index, lasting_name(source), keep=settings.keep_removed_days > 0)
    print_result({"source": source, "removed": removed}, as_json, f"{count_of(removed)} removed from the index.")


@sources.command("restore")
def restore(
    photo: Annotated[str, typer.Argument(metavar="ID|PATH", help="The id or the path of a removed photo.")],
    as_json: JsonFlag = False,
) -> None:
    """Restore a removed photo to the index."""
    with _open_index() as index:
        restored = restore_excluded(index, _id_of(index, photo))
    result = {"id": restored.id, "uri": restored.payload.uri, "label": restored.payload.label}
    print_result(result, as_json, escape(f"{display_uri(restored.payload.uri)} is in the index again."))


@contextmanager
def _open_index() -> Iterator[VectorIndex]:
    settings = load_settings()
    with open_store(settings) as store, open_index(store, bundle_in_use(settings, store)) as index:
        yield index


def _id_of(index: VectorIndex, photo: str) -> uuid.UUID:
    """Return the id of a removed photo that is named by its id or path."""
    with suppress(ValueError):
        return uuid.UUID(photo)
    uri = store_of(photo).canonical(photo if is_url(photo) else str(Path(photo).absolute()))
    found = index.removed().named([uri]) if index.has_removed() else {}
    if uri not in found:
        raise NotFound(f"{display_uri(uri)} is not a removed photo.", "Name it by its former path, or by its id.")
    return found[uri].id
