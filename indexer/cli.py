"""`lookalike index`, `jobs`, `crosscheck`, `worker` and `doctor`."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.table import Column, Table

from indexer import jobs as job_records
from indexer.crosscheck import MIN_RECALL, NEIGHBOURS, SAMPLE, CrossCheck, cross_check, save_cross_check
from indexer.doctor import examine
from indexer.job_retry import RESUME, retry_request
from indexer.jobs import IndexRequest, Job
from indexer.model_registry import open_index
from indexer.progress import INTERRUPTED, cancel_on_interrupt, progress_bar
from indexer.removal import REMOVABLE
from indexer.runner import FinishedJob, run_job
from indexer.scheduled_sync import load_sync
from indexer.train_process import can_train
from retrieval.columns.kinds import KINDS
from retrieval.console import Exclude, IncludeHidden, JsonFlag, print_result, say
from retrieval.current_model import bundle_in_use
from retrieval.errors import LookalikeError, NoModel
from retrieval.index import open_store
from retrieval.listing import LabelFrom
from retrieval.photo_ref import display_uri
from retrieval.settings import load_settings
from retrieval.wording import count_of

COUNTS = {"seen", "indexed", "unchanged", "moved", "removed", "removal_refused", "failed", "seconds"}
COUNTS |= {"skipped", "skipped_reasons", "notices", "column_kinds"}
FIRST_DISAGREEMENTS = 5
MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}

jobs = typer.Typer(help="List, inspect, cancel and retry indexing jobs.", no_args_is_help=True)
Queue = Literal["index", "train"]
JobArgument = Annotated[str, typer.Argument(help="The job's id; see `lookalike jobs list`.")]


def _removable(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(REMOVABLE, value):
        raise typer.BadParameter("Give a number of photos, or a percentage such as 20%.")
    return value


def index(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders or CSV, JSONL or Parquet manifests; paths or URLs.", metavar="SOURCE..."),
    ],
    *,
    label_from: Annotated[
        LabelFrom | None,
        typer.Option(help="Source of the labels. Default: folder names, or the column `label` of a manifest."),
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Also remove photos of these sources that no longer exist.")
    ] = False,
    include_hidden: IncludeHidden = False,
    exclude: Exclude = None,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Replace labels in the index by the names of folders.")
    ] = False,
    allow_removing: Annotated[
        str | None,
        typer.Option(
            metavar="N|N%",
            callback=_removable,
            help="Let --sync remove up to N photos, or N % of the photos, of each source, even if that seems too many.",
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:KIND",
            help=f"The kind of a column of a manifest: {', '.join(KINDS)}; repeat for several. Default: inferred. "
            "`place:place` also stores where photos were taken (EXIF GPS).",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if any photo fails.")] = False,
    bundle: Annotated[Path | None, typer.Option(help="The model bundle. Default: that of the current model.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Embed photos and add them to the index."""
    request = IndexRequest(
        sources,
        bundle,
        label_from,
        sync,
        include_hidden,
        exclude=exclude or (),
        relabel=relabel,
        allow_removing=allow_removing,
        urls=True,
        columns=tuple(column or ()),
    )
    _run(request, strict, as_json)


def crosscheck(
    sample: Annotated[int, typer.Option(min=1, help="Number of query photos to sample.")] = SAMPLE,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Number of neighbours to compare.")] = NEIGHBOURS,
    min_recall: Annotated[
        float, typer.Option(min=0, max=1, help="Exit with status 1 if recall@k is lower.")
    ] = MIN_RECALL,
    as_json: JsonFlag = False,
) -> None:
    """Compare search results with exact nearest neighbours."""
    settings = load_settings()
    with open_store(settings) as store, open_index(store, bundle_in_use(settings, store)) as opened:
        result = cross_check(opened, sample=sample, k=k, min_recall=min_recall)
    save_cross_check(settings, result)
    if not result.passed or result.warning:
        _report_cross_check(result)
    print_result(asdict(result), as_json, result.summary())
    if not result.passed:
        raise typer.Exit(1)


def worker(
    concurrency: Annotated[
        int, typer.Option(min=1, help="Number of processes; the embedded index allows only one.")
    ] = 1,
    *,
    queue: Annotated[
        Queue,
        typer.Option(
            help="index: batches of indexing jobs. train: models that a server is to train; needs TensorFlow, and the "
            "LOOKALIKE_HOME of the server."
        ),
    ] = "index",
    beat: Annotated[
        bool, typer.Option("--beat", help="Also schedule cross-checks and syncs; use it for one worker only.")
    ] = False,
) -> None:
    """Run a worker for distributed indexing jobs, or for trainings.

    It needs Redis (LOOKALIKE_REDIS_URL), and the photos at the same paths as the other machines.
    """
    settings, trains = load_settings(), queue == "train"
    if settings.redis_url is None:
        raise LookalikeError("A worker needs Redis.", "Set LOOKALIKE_REDIS_URL, for example redis://127.0.0.1:6379/0.")
    if trains and not can_train():
        raise LookalikeError(
            "A worker of the queue train needs TensorFlow, which is not installed here.",
            "Run `pip install 'lookalike[train]'` under Python 3.11, or omit --queue.",
        )
    if concurrency > 1 and not trains and not open_store(settings).allows_many_processes:
        raise LookalikeError(
            f"{concurrency} processes can't share the embedded index.",
            "Set LOOKALIKE_QDRANT_URL, or omit --concurrency.",
        )
    from indexer.redis_client import require_redis  # noqa: PLC0415 - Celery is only needed here
    from indexer.tasks import run_worker  # noqa: PLC0415

    if beat and settings.crosscheck_minutes is None and settings.sync_minutes is None:
        remedy = "Set LOOKALIKE_CROSSCHECK_MINUTES or LOOKALIKE_SYNC_MINUTES, or omit --beat."
        raise LookalikeError("Nothing is scheduled.", remedy)
    require_redis(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    schedule = ["--beat", "--schedule", str(settings.home / "beat-schedule")] if beat else []
    run_worker(["--loglevel", "INFO", "--concurrency", str(concurrency), *schedule], trains=trains)


def doctor(as_json: JsonFlag = False) -> None:
    """Check settings, device, bundle, index, servers, disk and versions."""
    checks = examine()
    table = Table(box=None, show_header=False)
    for check in checks:
        table.add_row(MARKS[check.status], check.name, escape(f"{check.message} {check.remedy}".strip()))
    healthy = all(check.status != "problem" for check in checks)
    print_result({"healthy": healthy, "checks": [asdict(check) for check in checks]}, as_json, table)
    if not healthy:
        raise typer.Exit(1)


@jobs.command("list")
def list_jobs(as_json: JsonFlag = False) -> None:
    """List indexing jobs, newest first."""
    settings = load_settings()
    found, last = job_records.list_jobs(settings), load_sync(settings)
    table = Table(
        Column("job", no_wrap=True), "state", "seen", "indexed", "failed", Column("sources", no_wrap=True), box=None
    )
    for job in found:
        counts = (job.seen, job.indexed, job.failed)
        table.add_row(job.id, job.state, *(f"{count:,}" for count in counts), escape(", ".join(job.sources)))
    result = {"jobs": [job.model_dump() for job in found], "last_sync": last}
    print_result(result, as_json, table if found else "No photos have been indexed yet.")
    if last:
        say(last.summary(), None if last.succeeded else "yellow")


@jobs.command("show")
def show_job(job: JobArgument, as_json: JsonFlag = False) -> None:
    """Show the request, state and counts of a job."""
    found = job_records.load_job(load_settings(), job)
    lines = (f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}" for name, value in found)
    print_result(found.model_dump(), as_json, escape("\n".join(lines)))


@jobs.command("failures")
def show_failures(
    job: JobArgument,
    *,
    offset: Annotated[int, typer.Option(min=0, help="Number of failures to skip.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of failures to show.")] = 1000,
    as_json: JsonFlag = False,
) -> None:
    """List the photos that failed in a job, with the reasons."""
    found = job_records.read_failures(load_settings(), job, offset, limit)
    lines = "\n".join(f"{display_uri(failure.uri)}: {failure.reason}" for failure in found)
    result = {"job": job, "failures": [asdict(failure) for failure in found]}
    print_result(result, as_json, escape(lines) or "Nothing failed.")


@jobs.command("retry")
def retry(
    job: JobArgument,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with status 1 if any photo fails again.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Start a new job for the photos that failed in a job."""
    request = retry_request(settings := load_settings(), job)
    state = job_records.load_job(settings, job).state
    if state in ("interrupted", "cancelled"):
        say(f"The job {job} was {state}: only the photos that failed before are indexed again. {RESUME}", "yellow")
    _run(request, strict, as_json)


@jobs.command("cancel")
def cancel(job: JobArgument, as_json: JsonFlag = False) -> None:
    """Stop a job after the current batch; indexed photos are kept."""
    found = job_records.cancel_job(load_settings(), job)
    running = found.state == "running"
    print_result(
        {"job": job, "state": found.state, "cancelled": running},
        as_json,
        f"{job} stops after the current batch." if running else f"{job} has already ended: {found.state}.",
    )


def _run(request: IndexRequest, strict: bool, as_json: bool) -> None:
    """Run a job in the foreground, and print its result."""
    settings = load_settings()
    shown = () if request.retry_of else request.sources
    bar = progress_bar(shown, request.listing_options(settings.home))
    try:
        with cancel_on_interrupt() as cancellation, bar as show, open_store(settings) as store:
            finished = run_job(settings, store, request, cancellation, show)
    except NoModel as error:
        raise NoModel(error.message, _ways_to_a_model(request.sources)) from None
    for notice in finished.job.notices:
        say(notice, "yellow")
    _report_failures(finished)
    print_result(_index_result(finished), as_json, _index_text(finished))
    job, check = finished.job, finished.cross_check
    if job.state in ("interrupted", "cancelled"):
        say(f"{job.state.capitalize()}. Run the same command again to continue.", "yellow")
        raise typer.Exit(INTERRUPTED)
    if settings.bundle is None and finished.current_model not in (None, job.model):
        say(f"The current model is still {finished.current_model}. To switch: lookalike models activate {job.model}")
    if check is not None:
        _report_cross_check(check)
    _report_refused_removals(job)
    if job.failed and job.failed == job.seen:
        say("No photo could be indexed.", "red")
        raise typer.Exit(1)
    if job.removal_refused or (strict and job.failed) or (check is not None and not check.passed):
        raise typer.Exit(1)


def _ways_to_a_model(sources: Sequence[str]) -> str:
    """Return the commands that make a model for these sources, each to paste."""
    data, photos = shlex.quote(sources[0]), shlex.join(sources)
    return (
        "Photos are indexed with a model. There are several ways to get one.\n"
        "  Without labels, in seconds; it finds photos of the same look:\n"
        f"    lookalike train --data {data} --recipe pretrained --out my-model\n"
        "  From photos with labels, in a folder per kind; it also learns the kinds:\n"
        "    lookalike train --data LABELLED --out my-model\n"
        "  Then, or if you have a model:\n"
        f"    lookalike index {photos} --bundle my-model\n"
        "  Or all steps, with the search page:\n"
        f"    lookalike demo --data {data}"
    )


def _index_result(finished: FinishedJob) -> dict[str, Any]:
    job, check = finished.job, finished.cross_check
    return {
        "job": job.id,
        **job.model_dump(include=COUNTS),
        "images_per_second": job.images_per_second,
        "state": job.state,
        "model": job.model,
        "failures": str(finished.record.failures) if job.failed else None,
        "crosscheck": asdict(check) if check is not None else None,
    }


def _index_text(finished: FinishedJob) -> str:
    job = finished.job
    moved = f"{job.moved} moved, " if job.moved else ""
    counts = (
        f"{count_of(job.indexed)} indexed, {job.unchanged} unchanged, {moved}{job.removed} removed, "
        f"{job.failed} failed, in {job.seconds:.1f} s ({job.images_per_second:.0f} photos/s)."
    )
    return f"{counts}\nSkipped: {', '.join(map(str, job.skipped_reasons))}." if job.skipped else counts


def _report_failures(finished: FinishedJob) -> None:
    record = finished.record
    for failure in record.first_failures:
        name = display_uri(failure.uri)
        say(failure.reason if name in failure.reason else f"{name}: {failure.reason}", "yellow")
    if record.job.failed > len(record.first_failures):
        say(f"All {record.job.failed} failures: {record.failures}", "yellow")


def _report_refused_removals(job: Job) -> None:
    for refused in job.removal_refused:
        say(
            f"Nothing was removed of {refused.source}: {refused.would_remove:,} of its {count_of(refused.of)} seem to "
            f"be gone. {refused.reason} If they are gone for good, add --allow-removing {refused.would_remove}.",
            "red",
        )


def _report_cross_check(check: CrossCheck) -> None:
    text = check.summary()
    if check.warning:
        say(check.warning, "yellow")
    if check.passed:
        say(text, "dim")
        return
    for disagreement in check.disagreements[:FIRST_DISAGREEMENTS]:
        say(
            f"{display_uri(disagreement.query)}: {len(disagreement.missing)} of its neighbours were not found", "yellow"
        )
    say(
        f"The cross-check failed. {text} Index the photos again into a new index: after "
        f"`lookalike models remove {check.model}`, or in another LOOKALIKE_HOME.",
        "red",
    )
