"""`lookalike duplicates`, `doubtful`, `queues` and `migrate`."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from indexer.duplicates import Duplicates, find_calibrated_duplicates, find_duplicates
from indexer.gallery import Gallery, read_gallery
from indexer.label_issues import find_doubtful
from indexer.migrate import Migration
from indexer.migrate import migrate as run_migration
from indexer.model_registry import open_index
from indexer.progress import INTERRUPTED, cancel_on_interrupt
from indexer.review.kept import kept_duplicates
from indexer.review.queues import Queued, QueueName, find_queues
from indexer.review.reasons import reason_of
from retrieval.analysis.label_issues import VOTERS
from retrieval.bundle_format import CalibrationData
from retrieval.console import JsonFlag, messages, print_result
from retrieval.current_model import bundle_in_use
from retrieval.index import embedded_store, open_store, server_store
from retrieval.parts import Parts
from retrieval.photo_ref import display, display_uri
from retrieval.settings import load_settings
from retrieval.wording import count_of

SHOWN = 50


Place = Literal["server", "embedded"]
BundleOption = Annotated[Path | None, typer.Option(help="The model bundle. Default: that of the current model.")]


def duplicates(
    min_score: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Minimum similarity of near-identical photos. Default: set by the model."),
    ] = None,
    bundle: BundleOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List duplicates: identical files, and files that look the same, such as resized copies of a photo."""
    gallery, calibration = _open_gallery(bundle)
    found = (
        find_calibrated_duplicates(gallery, calibration) if min_score is None else find_duplicates(gallery, min_score)
    )
    print_result(asdict(found), as_json, _duplicates_text(found))


def doubtful(
    voters: Annotated[
        int, typer.Option(min=1, max=100, help="Number of nearest neighbours that vote on each label.")
    ] = VOTERS,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of photos to list.")] = 100,
    bundle: BundleOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List photos with a label that differs from those of their nearest neighbours, most likely mistakes first."""
    gallery, _ = _open_gallery(bundle)
    found = find_doubtful(gallery, voters)
    shown = found[:limit]
    results = [{"uri": uri, **asdict(issue)} for uri, issue in shown]
    result = {"photos": len(gallery.photos), "doubtful": len(found), "results": results}
    lines = [f"{display_uri(uri)}: {display(one.label)}, suggested: {display(one.suggested)}" for uri, one in shown]
    text = _text(lines, len(found) - len(shown), "Every label agrees with its photo's neighbours.")
    print_result(result, as_json, text)


def queues(
    name: Annotated[
        QueueName | None, typer.Argument(help="The queue to list. Default: the size of each queue.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of photos to list.")] = 100,
    bundle: BundleOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List photos that a person should review, most important first, with suggested labels and reasons."""
    gallery, calibration = _open_gallery(bundle)
    found = find_queues(gallery, calibration)
    kept = kept_duplicates(load_settings())
    found["duplicates"] = [one for one in found["duplicates"] if one.id not in kept]
    if name is None:
        counts = {queue: len(photos) for queue, photos in found.items()}
        text = "\n".join(f"{queue:<12} {count_of(count)}" for queue, count in counts.items())
        print_result({"photos": len(gallery.photos), "queues": counts}, as_json, text)
        return
    uris = {id: photo.uri for id, photo in zip(gallery.ids, gallery.photos, strict=True)}
    total, shown = len(found[name]), found[name][:limit]
    lines = [f"{display_uri(uris[one.id])}: {display(reason_of(one))}" for one in shown]
    result = {"queue": name, "total": total, "results": [_queued(one, uris) for one in shown]}
    print_result(result, as_json, _text(lines, total - len(shown), "No photo waits in this queue."))


def migrate(
    to: Annotated[Place, typer.Option(help="Target: the Qdrant server, or the embedded index on this machine.")],
    model: Annotated[
        str | None, typer.Option(help="The model of the index to copy. Default: the current model.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Copy an index to the Qdrant server of LOOKALIKE_QDRANT_URL, or back, without embedding photos again."""
    settings = load_settings()
    with (
        server_store(settings) as server,
        embedded_store(settings) as embedded,
        cancel_on_interrupt() as cancellation,
        _progress() as show,
    ):
        source, target = (embedded, server) if to == "server" else (server, embedded)
        done = run_migration(settings, source, target, cancellation, show, model=model)
    print_result({"to": to, **asdict(done)}, as_json, _migration_text(done, to))
    if not done.complete:
        raise typer.Exit(INTERRUPTED)
    if done.cross_check is not None and not done.cross_check.passed:
        raise typer.Exit(1)


def _open_gallery(chosen: Path | None) -> tuple[Gallery, CalibrationData | None]:
    """Return the photos of the index in use, and the calibration of its model."""
    settings = load_settings()
    with open_store(settings) as store:
        manifest = (bundle := bundle_in_use(settings, store, chosen)).manifest
        with open_index(store, bundle) as index:
            return read_gallery(index, Parts(manifest.parts)), manifest.calibration_data or index.calibration()


def _queued(photo: Queued, uris: Mapping[uuid.UUID, str]) -> dict[str, object]:
    """Return a photo of a queue with URIs instead of ids, and with its reason."""
    known = {name: getattr(photo, name) for name in ("label", "suggested", "confidence", "margin")}
    original = None if photo.duplicate_of is None else uris[photo.duplicate_of]
    return {"uri": uris[photo.id], **known, "duplicate_of": original, "reason": reason_of(photo)}


def _duplicates_text(found: Duplicates) -> Text:
    groups = [("identical", group.photos) for group in found.identical]
    groups += [(f"{group.score:.4f}", group.photos) for group in found.near_identical]
    lines = ["\n  ".join([title, *map(display_uri, photos)]) for title, photos in groups[:SHOWN]]
    return _text(lines, len(groups) - len(lines), f"No duplicates among {count_of(found.photos)}.")


def _text(lines: Sequence[str], hidden: int, empty: str) -> Text:
    """Return the lines and the number of hidden ones; the text for an empty list if there are none."""
    if hidden:
        lines = [*lines, f"… and {hidden:,} more."]
    return Text("\n".join(lines) if lines else empty)


def _migration_text(done: Migration, to: Place) -> str:
    counts = f"{count_of(done.points)} seen, {done.copied:,} copied, {done.removed:,} removed, in {done.seconds:.1f} s."
    if not done.complete:
        return f"Interrupted: {counts} Run the same command again to continue."
    check = f" {done.cross_check.summary()}" if done.cross_check else ""
    return f"The index of {done.model} is {to}: {counts}{check} The original is kept."


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    columns = TextColumn("Copying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=messages, disable=not messages.is_terminal)
    task = bar.add_task("copy", total=None)
    with bar:
        yield lambda seen, total: bar.update(task, completed=seen, total=total)
