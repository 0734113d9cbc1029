"""`lookalike corrections`: the corrections of photos, and how they travel to another home."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from indexer.correction_log import Correction, DamagedLine, line_of, read_corrections
from indexer.corrections import Corrections, Update, apply_updates
from indexer.model_registry import open_index
from retrieval.console import JsonFlag, print_result, say
from retrieval.current_model import bundle_in_use
from retrieval.errors import IndexBusy, LookalikeError, NotFound, os_errors_as
from retrieval.files import write_atomically
from retrieval.index import open_store
from retrieval.photo_ref import display
from retrieval.settings import Settings, load_settings
from retrieval.wording import count_of

FIRST_DAMAGED = 10

corrections = typer.Typer(help="List, export and import corrected labels and columns.", no_args_is_help=True)


@corrections.command("list")
def list_corrections(as_json: JsonFlag = False) -> None:
    """List the current corrections, newest first; one for each content of a file."""
    log = Corrections(load_settings().home).log
    current = sorted(log.latest().values(), key=lambda one: one.time, reverse=True)
    table = Table("time", "key", "sha256", "label", "before", "columns", "confirmed", box=None)
    for one in current:
        columns = ", ".join(f"{name}: {value}" for name, value in one.columns.items())
        labels = (escape(display(label or "")) for label in (one.new, one.original))
        confirmed = "yes" if one.confirmed else ""
        table.add_row(
            one.time[:19], escape(one.key or ""), one.sha256[:12], *labels, escape(display(columns)), confirmed
        )
    _, damaged = _split(log.lines())
    _report(log.path, damaged)
    result = {"corrections": [asdict(one) for one in current], "damaged": [asdict(one) for one in damaged]}
    print_result(result, as_json, table if current else "No photo has been corrected yet.")


@corrections.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, in JSON Lines.")],
    as_json: JsonFlag = False,
) -> None:
    """Write all corrections to a file, for another home or as a back-up."""
    log = Corrections(load_settings().home).log
    found, damaged = _split(log.lines())
    _report(log.path, damaged)
    with os_errors_as(LookalikeError, f"{display(file)} can't be written", "Check its folder and the free space."):
        write_atomically(file, "".join(f"{line_of(one)}\n" for one in found))
    text = f"{count_of(len(found), 'correction')} were written to {display(file)}."
    print_result(
        {"file": str(file), "corrections": len(found), "damaged": [asdict(one) for one in damaged]},
        as_json,
        escape(text),
    )


@corrections.command("import")
def import_corrections(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `lookalike corrections export` wrote.")],
    as_json: JsonFlag = False,
) -> None:
    """Add the corrections of another home, and apply them to the indexed photos; of several, the last one counts.

    Lines that are no corrections are reported; the others are imported, and the exit status is 1.
    """
    settings = load_settings()
    own = Corrections(settings.home)
    found, damaged = _split(read_corrections(file))
    _report(file, damaged)
    with own.locked():
        new, updates = own.merge(found)
        applied = _apply(settings, updates)
    result = {
        "file": str(file),
        "corrections": len(found),
        "new": new,
        "applied": applied,
        "damaged": [asdict(one) for one in damaged],
    }
    changed = "no photo was changed yet" if applied is None else f"{count_of(applied)} changed"
    print_result(result, as_json, f"{count_of(len(found), 'correction')} imported, {new:,} of them new; {changed}.")
    if damaged:
        raise typer.Exit(1)


def _apply(settings: Settings, updates: Sequence[Update]) -> int | None:
    """Change the photos of the current index; return how many were changed, None if that has to wait for a job."""
    try:
        with open_store(settings) as store, open_index(store, bundle_in_use(settings, store)) as index:
            return apply_updates(index, updates)
    except NotFound:
        say("There is no index yet; jobs apply the corrections to the photos that they index.")
    except IndexBusy as error:
        say(f"{error.message} The corrections are recorded; jobs apply them to the photos that they index.", "yellow")
    return None


def _split(found: Iterable[Correction | DamagedLine]) -> tuple[list[Correction], list[DamagedLine]]:
    lines = list(found)
    return [one for one in lines if isinstance(one, Correction)], [one for one in lines if isinstance(one, DamagedLine)]


def _report(path: Path, damaged: Sequence[DamagedLine]) -> None:
    for one in damaged[:FIRST_DAMAGED]:
        say(f"{display(path)}, line {one.line}: {display(one.reason)}", "yellow")
    if len(damaged) > FIRST_DAMAGED:
        say(f"{count_of(len(damaged), 'line')} of {display(path)} are no corrections.", "yellow")
