"""`lookalike export` and `lookalike import-vectors`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from indexer.export import back, run
from indexer.export.formats import require_known_suffix
from retrieval.bundle import load_bundle
from retrieval.console import JsonFlag, messages, print_result
from retrieval.index import open_store
from retrieval.photo_ref import display
from retrieval.settings import load_settings


def export(
    to: Annotated[
        Path, typer.Option(metavar="FILE", help="The file to write: .parquet, .jsonl, .csv, or .npy (vectors alone).")
    ],
    model: Annotated[str | None, typer.Option(help="The model to export. Default: the current model.")] = None,
    predict: Annotated[bool, typer.Option("--predict", help="Also compute the predicted label of each photo.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write what the index knows of each photo to a file, with the embeddings."""
    require_known_suffix(to)
    settings = load_settings()
    with open_store(settings) as store, _progress("Exporting") as show:
        done = run.export(settings, store, to, show, model=model, predict=predict)
    text = f"{done.photos:,} photos of {done.model} are in {display(to)}, written in {done.seconds:.1f} s."
    print_result({"to": str(to), **asdict(done)}, as_json, escape(text))


def import_vectors(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .parquet or .jsonl file that was exported.")],
    model: Annotated[str, typer.Option(help="The id of the installed model that made the vectors.")],
    as_json: JsonFlag = False,
) -> None:
    """Add the photos of an exported file to the index of a model, without embedding them again."""
    settings = load_settings()
    bundle = load_bundle(settings.models_folder / model)
    with open_store(settings) as store, _progress("Importing") as show:
        done = back.import_vectors(store, bundle, file, lambda photos: show(photos, None))
    print_result(asdict(done), as_json, escape(f"{done.photos:,} photos were imported into the index of {done.model}."))


@contextmanager
def _progress(doing: str) -> Iterator[Callable[[int, int | None], None]]:
    columns = TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=messages, disable=not messages.is_terminal)
    task = bar.add_task(doing, total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)
