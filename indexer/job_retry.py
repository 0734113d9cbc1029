"""Retrying a job: its request, and the photos that failed in it."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from indexer.jobs import IndexRequest, load_job, read_failures
from retrieval.errors import NotFound
from retrieval.manifest import LINE
from retrieval.photo_ref import PhotoRef, path_of
from retrieval.settings import Settings
from retrieval.stores import store_of

RESUME = "To index the rest of its photos, run the command again that started it."


def retry_request(settings: Settings, job_id: str) -> IndexRequest:
    """Return the request to index the photos and folders that failed in a job.

    Raises `NotFound` if there is no such job, or nothing failed in it.
    """
    job = load_job(settings, job_id)
    if not read_failures(settings, job_id):
        was_stopped = job.state in ("interrupted", "cancelled")
        raise NotFound(f"Nothing failed in the job {job_id}.", f"It was {job.state}. {RESUME}" if was_stopped else "")
    sources = [str(path_of(source)) if source.startswith("file:") else source for source in job.sources]
    return IndexRequest(
        sources,
        settings.models_folder / job.model,
        job.label_from,
        include_hidden=job.include_hidden,
        exclude=job.exclude,
        relabel=job.relabel,
        columns=job.columns,
        urls=job.urls,
        retry_of=job_id,
    )


def failed_photos(
    settings: Settings, job_id: str, sources: Sequence[str], listed: Callable[[Sequence[str]], Iterator[PhotoRef]]
) -> Iterator[PhotoRef]:
    """List the photos that failed in a job, and all photos of its folders that could not be listed.

    If a line of a manifest named no photo, all photos of that manifest are listed, since the line may have changed.
    """
    failed = frozenset(failure.uri for failure in read_failures(settings, job_id))
    manifests = {uri.partition(LINE)[0] for uri in failed if LINE in uri}
    whole = [source for source in sources if manifests and store_of(source).canonical(source) in manifests]
    rest = listed([source for source in sources if source not in whole])
    return chain(listed(whole), (photo for photo in rest if any(uri in failed for uri in _with_parents(photo.uri))))


def _with_parents(uri: str) -> Iterator[str]:
    """Yield a URI and those of all folders above it."""
    while uri:
        yield uri
        uri = uri.rpartition("/")[0]
