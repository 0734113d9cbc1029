"""`lookalike check`."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from retrieval.check import CheckReason, CheckReport
from retrieval.check import check as run_check
from retrieval.console import Exclude, IncludeHidden, JsonFlag, print_result
from retrieval.decoder import PhotoDecoder
from retrieval.listing_options import ListingOptions
from retrieval.settings import load_settings


def check(
    source: Annotated[
        str, typer.Argument(help="A folder, or a CSV, JSONL or Parquet manifest; a path or URL.", metavar="FOLDER")
    ],
    include_hidden: IncludeHidden = False,
    exclude: Exclude = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if any photo is refused.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Decode the photos of a folder, and report what is read, skipped or refused, at what size, and why."""
    settings = load_settings()
    decoder = PhotoDecoder(settings.source_policy(allow_urls=True))
    options = ListingOptions(include_hidden, tuple(exclude or ()), settings.home)
    report = run_check(source, decoder, settings.embedding_threads, options)
    print_result(asdict(report), as_json, _table(report))
    if strict and report.refused:
        raise typer.Exit(1)


def _table(report: CheckReport) -> Table:
    counts = f"{report.read:,} read, {report.skipped:,} skipped, {report.refused:,} refused"
    table = Table("files", "result", "reason", "first example", box=None, header_style="bold", title=counts)
    table.title_justify = "left"
    for why in report.reasons:
        table.add_row(f"{why.count:,}", why.outcome, escape(_reason(why)), escape(why.example))
    return table


def _reason(why: CheckReason) -> str:
    if why.smallest is None or why.largest is None:
        return why.detail if why.outcome != "skipped" else f"{why.reason}: {why.detail}"
    sizes = dict.fromkeys("{} × {}".format(*size) for size in (why.smallest, why.largest))
    return f"{why.detail}, {' to '.join(sizes)}"
