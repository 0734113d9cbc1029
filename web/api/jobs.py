"""`/jobs`: start, list, follow, cancel and retry jobs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from apiflask import FileSchema
from flask import Response, request, url_for

from indexer.job_retry import retry_request
from indexer.jobs import IndexRequest, Job, TrainingOptions, cancel_job, count_jobs, list_jobs, load_job, read_failures
from indexer.model_registry import installed
from indexer.scheduled_sync import load_sync
from retrieval.api_keys import Scope
from retrieval.errors import NotFound
from retrieval.stores import Failure
from web.columns import hidden_columns, without_hidden
from web.keys import WRITES, current, may, require, sees_uris
from web.schemas.fields import PageOptions
from web.schemas.jobs import FailedPhoto, Failures, IndexJob, Jobs, NewJob, TrainJob
from web.services import Services, services
from web.validation import Blueprint

blueprint = Blueprint("jobs", __name__, tag="Jobs")

POLL_SECONDS = 0.5
KEEPALIVE_SECONDS = 10  # after which a comment is sent, which fails if the client has disconnected
MAX_STREAM_SECONDS = 600  # after which the browser reconnects by itself
LAST_EVENT = "end"

Started = tuple[Job, int, dict[str, str]]


@blueprint.post("/jobs")
@blueprint.auth_required(WRITES)
@blueprint.input(NewJob, arg_name="new")
@blueprint.output(Job, status_code=202)
@blueprint.doc(operation_id="startJob", responses=[400, 403, 404, 409, 415, 422])
def start(new: NewJob) -> Started:
    """Start a job: index photos, compute the map, find photos to review, or train a model on the indexed photos."""
    job = new.root
    if isinstance(job, IndexJob):
        return start_indexing(job)
    if isinstance(job, TrainJob):
        require(Scope.ADMIN)
        training = TrainingOptions(**job.model_dump(exclude={"kind"}))
        return start_job(IndexRequest((), kind="train", training=training))
    return start_job(IndexRequest((), kind=job.kind))


@blueprint.get("/jobs")
@blueprint.input(PageOptions, location="query")
@blueprint.output(Jobs)
@blueprint.doc(operation_id="listJobs", responses=[422])
def show_all(query_data: PageOptions) -> Jobs:
    """List the jobs and their current state, newest first."""
    settings, shown = services().settings, _shown()
    jobs = list_jobs(settings, query_data.offset, query_data.limit)
    last = load_sync(settings)
    if last and last.error and not sees_uris():
        last = last.model_copy(update={"error": services().shown_paths.without_folders(last.error)})
    return Jobs(jobs=[shown(job) for job in jobs], total=count_jobs(settings), last_sync=last)


@blueprint.get("/jobs/<string:job>")
@blueprint.output(Job)
@blueprint.doc(operation_id="getJob", responses=[404])
def show(job: str) -> Job:
    """Return the current state of a job."""
    return _shown()(load_job(services().settings, job))


@blueprint.get("/jobs/<string:job>/events")
@blueprint.output(FileSchema(type="string"), content_type="text/event-stream")
@blueprint.doc(
    operation_id="followJob",
    responses={204: "The last event has been sent before (Last-Event-ID: end)", 404: "No such job"},
)
def follow(job: str) -> Response:
    """Stream the state of a job whenever it changes, as server-sent events; the event with the id `end` is the last.

    A browser that lost the connection reconnects by itself; the status is 204 if it has received the last event.
    """
    served = services()
    load_job(served.settings, job)
    if request.headers.get("Last-Event-ID") == LAST_EVENT:
        return Response(status=204)
    return Response(
        _events(served, job, _shown()),
        mimetype="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@blueprint.get("/jobs/<string:job>/failures")
@blueprint.input(PageOptions, location="query")
@blueprint.output(Failures)
@blueprint.doc(operation_id="listFailures", responses=[404, 422])
def failures(job: str, query_data: PageOptions) -> Failures:
    """List the photos that a job could not index, with the reasons."""
    settings = services().settings
    total = load_job(settings, job).failed
    found = read_failures(settings, job, query_data.offset, query_data.limit)
    return Failures(failures=[_failure(failure) for failure in found], total=total)


@blueprint.post("/jobs/<string:job>/cancel")
@blueprint.auth_required(WRITES)
@blueprint.output(Job)
@blueprint.doc(operation_id="cancelJob", responses=[403, 404])
def cancel(job: str) -> Job:
    """Cancel a job after its current batch; a job that has ended does not change."""
    return cancel_job(services().settings, job)


@blueprint.post("/jobs/<string:job>/retry")
@blueprint.auth_required(WRITES)
@blueprint.output(Job, status_code=202)
@blueprint.doc(operation_id="retryJob", responses=[403, 404, 409, 422])
def retry(job: str) -> Started:
    """Start a job for the photos that failed in another job."""
    return start_job(retry_request(services().settings, job))


def start_job(order: IndexRequest) -> Started:
    """Start a job in the name of the current request's key; return it with the status and headers of the response."""
    key = current()
    job = services().jobs.start(replace(order, started_by=key.name if key else None))
    return job, 202, {"Location": url_for("jobs.show", job=job.id)}


def start_indexing(new: IndexJob) -> Started:
    """Start a job that indexes photos, and remember the folders that were chosen for it."""
    order = _index_request(new)
    started = start_job(order)
    services().library.keep(order.sources)
    return started


def _index_request(new: IndexJob) -> IndexRequest:
    if new.pretrained:
        require(Scope.ADMIN)
    served, any_folder = services(), may(Scope.ADMIN)
    return IndexRequest(
        sources=[served.library.source(source, any_folder=any_folder) for source in new.sources],
        bundle=_bundle_of(new.model) if new.model else None,
        label_from=new.label_from,
        sync=new.sync,
        include_hidden=new.include_hidden,
        exclude=new.exclude,
        relabel=new.relabel,
        allow_removing=new.allow_removing,
        columns=new.columns,
        pretrained=new.pretrained,
    )


def _bundle_of(model: str) -> Path:
    folder = installed(services().settings).get(model)
    if folder is None:
        raise NotFound(f"There is no model {model}.", "`GET /models` lists the installed models.")
    return folder


def _shown() -> Callable[[Job], Job]:
    """A function that returns a job as the current request may see it; a stream calls it after the request."""
    hidden, message = hidden_columns(), without_hidden()
    without_paths = (lambda job: job) if sees_uris() else _without_folders()

    def without_columns(job: Job) -> Job:
        return job.model_copy(
            update={
                "columns": [column for column in job.columns if column.rpartition(":")[0] not in hidden],
                "column_kinds": {name: kind for name, kind in job.column_kinds.items() if name not in hidden},
                "notices": [message(notice) for notice in job.notices],
                "error": job.error and message(job.error),
            }
        )

    return (lambda job: without_columns(without_paths(job))) if hidden else without_paths


def _without_folders() -> Callable[[Job], Job]:
    """A function that returns a job without the folders of the server."""
    paths = services().shown_paths

    def without_folders(job: Job) -> Job:
        refused = [
            replace(one, source=paths.of_source(one.source), reason=paths.without_folders(one.reason))
            for one in job.removal_refused
        ]
        return job.model_copy(
            update={
                "sources": [paths.of_source(source) for source in job.sources],
                "removal_refused": refused,
                "notices": [paths.without_folders(notice) for notice in job.notices],
                "error": job.error and paths.without_folders(job.error),
            }
        )

    return without_folders


def _failure(failure: Failure) -> FailedPhoto:
    paths, is_seen = services().shown_paths, sees_uris()
    reason = failure.reason if is_seen else paths.without_folders(failure.reason, failure.uri)
    return FailedPhoto(
        uri=failure.uri if is_seen else None, path=paths.of(failure.uri), reason=without_hidden()(reason)
    )


def _events(served: Services, name: str, shown: Callable[[Job], Job]) -> Iterator[str]:
    """The events of a stream, which occupies a thread.

    If there are too many streams, it ends after its first event, and the browser reconnects.
    """
    stays = served.streams.acquire(blocking=False)
    started = sent = time.monotonic()
    before = None
    try:
        while not served.stopping.is_set() and time.monotonic() - started < MAX_STREAM_SECONDS:
            job = shown(load_job(served.settings, name))
            if job.state != "running":
                yield f"id: {LAST_EVENT}\ndata: {job.model_dump_json()}\n\n"
                return
            if job != before:
                yield f"data: {job.model_dump_json()}\n\n"
                before, sent = job, time.monotonic()
            elif time.monotonic() - sent > KEEPALIVE_SECONDS:
                yield ": still running\n\n"
                sent = time.monotonic()
            if not stays:
                return
            served.stopping.wait(POLL_SECONDS)
    finally:
        if stays:
            served.streams.release()
