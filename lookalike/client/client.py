"""`Client`: the JSON API of a server as methods."""

import base64
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from types import EllipsisType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack
from urllib.parse import quote

from lookalike.client import responses
from lookalike.client.errors import ApiError, error_of
from lookalike.client.http import Http
from lookalike.client.photos import Photo, encoded
from lookalike.client.responses import (
    AddedPhoto,
    Embeddings,
    FailedPhoto,
    IndexedPhoto,
    Job,
    LabelCount,
    QueuedPhoto,
    Queues,
    SavedSearch,
    SearchResults,
)
from retrieval.errors import LookalikeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DEFAULT_URL = "http://127.0.0.1:5000"
MOST_PHOTOS = 100  # in one request
MOST_BYTES = 12_000_000  # of photos in one request; in base64 16 MB, below the default of LOOKALIKE_MAX_UPLOAD_MB
PAGE = 1000  # items of a list in one request
POLLS_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # between two looks at a job; the last is repeated


class Options(TypedDict, total=False):
    """The options of a search; those that are left out have the default of the server."""

    k: int  # number of results, 1 to 100
    offset: int  # number of results to skip
    label: str | Sequence[str]  # only photos with one of these labels
    where: Mapping[str, Any]  # only photos with these values of columns: {"price": {"gte": 10}}
    min_score: float  # only photos with at least this score
    look: float  # weight of the part look, 0 (same kind) to 1 (same look)
    group_by: str  # only the nearest photo for each value of this column
    diversity: float  # weight of the difference from the results before, 0 to 1
    exact: bool  # compare with every photo


Crop = tuple[float, float, float, float]  # x, y, width and height as fractions of the photo


class Client:
    """A client of a server's API; close it, or use it in a `with` statement.

    A request that fails because the server can't be reached, is busy or limits the rate is repeated with growing
    pauses, or after the time that `Retry-After` gives. One that might be carried out twice is repeated only if the
    server has not received it. A client may be shared by threads.

    Args:
        url: the address of the server.
        key: an API key; None if the server needs none for reading.
        timeout: seconds without a response, after which an attempt fails.
        attempts: how often a request is sent at most.
        longest_wait: seconds; if the server asks to wait longer, `TooManyRequests` or `Unavailable` is raised at once.

    All methods raise:
        ApiError: the server refuses the request; there is a subclass for each kind (`NotFound`, `InvalidRequest`, …).
        ServerUnreachable: the server does not respond.

    >>> client = Client(url, key=key)
    >>> client.search(photo, k=2).results[0].label
    'red'
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout: float = 60.0,
        attempts: int = 5,
        longest_wait: float = 60.0,
    ) -> None:
        self._http = Http(url, key, timeout, attempts, longest_wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the server."""
        self._http.close()

    def search(
        self, photo: Photo | uuid.UUID, *, crop: Crop | None = None, **options: Unpack[Options]
    ) -> SearchResults:
        """Find the photos that look like a photo.

        Args:
            photo: a path, the content of a file, pixels (uint8 [height, width, 3]), a PIL image, or the id of an
                indexed photo, which is excluded from the results.
            crop: search by this part of the photo: x, y, width and height as fractions of its width and height.
            options: see `Options`.

        >>> found = client.search(photo, k=3, label=["red", "blue"])
        >>> [result.score >= 0.5 for result in found.results]
        [True, True, True]
        >>> client.search(found.results[0].id, k=1).results[0].label
        'red'
        >>> import numpy as np
        >>> client.search(np.zeros((64, 64, 3), np.uint8) + np.uint8([200, 30, 30])).predicted_label.label
        'red'
        """
        if isinstance(photo, uuid.UUID):
            return self._search({**_query(photo, crop), **_json(options)})
        fields = _text(options) | ({"crop": ",".join(map(str, crop))} if crop else {})
        return self._http.read(SearchResults, "POST", "/search", data=fields, files={"image": _file(encoded(photo))})

    def search_vector(
        self, vector: "Sequence[float] | npt.NDArray[np.floating[Any]]", **options: Unpack[Options]
    ) -> SearchResults:
        """Find the photos nearest to an embedding of the current model, [d].

        >>> vector = client.embeddings([photo]).embeddings[0]
        >>> client.search_vector(vector, k=1).results[0].score
        1.0
        """
        return self._search({"vector": [float(value) for value in vector], **_json(options)})

    def search_examples(
        self, positive: Sequence[uuid.UUID], negative: Sequence[uuid.UUID] = (), **options: Unpack[Options]
    ) -> SearchResults:
        """Find the photos that look like the positive examples and unlike the negative ones, all of them indexed.

        >>> like, unlike = (result.id for result in client.search(photo, k=2).results)
        >>> len(client.search_examples([like], [unlike], k=3).results)
        3
        """
        examples = {"positive": list(map(str, positive)), "negative": list(map(str, negative))}
        return self._search({**examples, **_json(options)})

    def search_many(
        self, photos: Iterable[Photo | uuid.UUID], **options: Unpack[Options]
    ) -> Iterator[SearchResults | ApiError]:
        """Search for each of many photos or ids, with up to 100 in a request; yield the results in the same order.

        For a photo that can't be searched for, the error is yielded and not raised. The photos are read as they are
        sent, so there may be any number of them.

        >>> for found in client.search_many([photo, b"no photo"], k=1):
        ...     print(type(found).__name__)
        SearchResults
        UnreadablePhoto
        """
        for batch in _batches(_query(photo, None) for photo in photos):
            answers = self._http.read(
                _Answers, "POST", "/search", json={"queries": [q | _json(options) for q in batch]}
            )
            for answer in answers.answers:
                yield answer if isinstance(answer, SearchResults) else error_of(answer.error["status"], answer.error)

    def similar(self, photo: uuid.UUID, **options: Unpack[Options]) -> SearchResults:
        """Find the photos that look like an indexed one, as `search` with its id does.

        >>> client.similar(client.search(photo).results[0].id, k=4).results[0].label
        'red'
        """
        return self._http.read(SearchResults, "GET", f"/images/{photo}/similar", params=_text(options))

    def embeddings(self, photos: Iterable[Photo]) -> Embeddings:
        """Return the embeddings of photos, which are not stored.

        Raises `LookalikeError` if another model became the current one meanwhile, and `ValueError` without photos.

        >>> made = client.embeddings([photo, photo])
        >>> made.array().shape == (2, sum(part.length for part in made.parts))
        True
        """
        made: Embeddings | None = None
        for batch in _batches({"image_base64": _base64(encoded(photo))} for photo in photos):
            body = {"image_base64": [one["image_base64"] for one in batch]}
            more = self._http.read(Embeddings, "POST", "/embeddings", json=body)
            if made is not None and more.model != made.model:
                raise LookalikeError("Another model has become the current one.", "Request the embeddings again.")
            before = made.embeddings if made else []
            made = more.model_copy(update={"embeddings": [*before, *more.embeddings]})
        if made is None:
            raise ValueError("There are no photos to embed.")
        return made

    def photo(self, photo: uuid.UUID) -> IndexedPhoto:
        """Return what the index stores about a photo.

        >>> client.photo(client.search(photo).results[0].id).width
        120
        """
        return self._http.read(IndexedPhoto, "GET", f"/images/{photo}")

    def images(
        self, *, sort: str = "", q: str = "", label: str | Sequence[str] = (), where: Mapping[str, Any] | None = None
    ) -> Iterator[IndexedPhoto]:
        """Yield all indexed photos that match, in pages of a thousand.

        Args:
            sort: `name`, `label`, `bytes`, `modified` or `taken`; with a minus sign for descending order. Photos
                without the value are last. By default, photos are in the order of their ids.
            q: only photos with a file name or label that contains this text.
            label: only photos with one of these labels.
            where: only photos with these values of columns: `{"price": {"gte": 10}}`.

        >>> [image.path for image in client.images(sort="name", label="red")][:3]
        ['red/0.jpg', 'red/1.jpg', 'red/2.jpg']
        >>> largest = next(client.images(sort="-bytes", where={"not": {"label": "green"}}))
        >>> largest.label == "green"
        False
        """
        options: dict[str, Any] = {"sort": sort, "q": q, "label": label, "limit": PAGE, "after": ""}
        if where is not None:
            options["where"] = json.dumps(where)
        while True:
            page = self._http.read(responses.ImageList, "GET", "/images", params=options)
            yield from page.images
            if page.next is None:
                return
            options["after"] = page.next

    def file(self, photo: uuid.UUID) -> bytes:
        """Return the file of an indexed photo."""
        return self._http.send("GET", f"/images/{photo}/file").content

    def thumbnail(self, photo: uuid.UUID) -> bytes:
        """Return an indexed photo as a JPEG with at most 320 pixels per side."""
        return self._http.send("GET", f"/images/{photo}/thumbnail").content

    def add(self, photo: Photo, *, label: str | None = None, columns: Mapping[str, Any] | None = None) -> AddedPhoto:
        """Store a photo on the server and index it. Needs a key of the scope `write`.

        If its content was added before, no second photo is made: that photo gets the label, unless a person has
        confirmed its own, and the columns.

        >>> from PIL import Image
        >>> flower = Image.new("RGB", (64, 64), "pink")
        >>> added = client.add(flower, label="rose")
        >>> added.label
        'rose'
        >>> again = client.add(flower, label="tulip", columns={"price": 2.5})
        >>> again.id == added.id, again.label, again.replaced_label, again.extra
        (True, 'tulip', 'rose', {'price': 2.5})
        >>> client.remove(added.id)
        >>> client.photo(added.id)
        Traceback (most recent call last):
        lookalike.client.errors.NotFound: There is no indexed photo ...
        """
        fields = ({} if label is None else {"label": label}) | ({"columns": json.dumps(columns)} if columns else {})
        return self._http.read(AddedPhoto, "POST", "/images", data=fields, files={"image": _file(encoded(photo))})

    def update(
        self,
        photo: uuid.UUID,
        *,
        label: str | EllipsisType | None = ...,
        columns: Mapping[str, Any] | None = None,
        confirmed: bool | None = None,
        version: str | None = None,
    ) -> IndexedPhoto:
        """Correct an indexed photo; what is left out stays. Needs a key of the scope `write`.

        Args:
            photo: its id.
            label: its label; None: unlabelled.
            columns: values of columns, by name; None removes a value, and other columns stay.
            confirmed: whether a person has confirmed the label; by default True if `label` is given.
            version: `IndexedPhoto.version` as you have seen it; if the photo has been changed meanwhile, `PhotoChanged`
                is raised.

        >>> found = client.photo(client.search(photo).results[0].id)
        >>> changed = client.update(found.id, label="scarlet", columns={"price": 2.5}, version=found.version)
        >>> changed.label, changed.extra, changed.confirmed
        ('scarlet', {'price': 2.5}, True)
        >>> client.update(found.id, label="pink", version=found.version)
        Traceback (most recent call last):
        lookalike.client.errors.PhotoChanged: The photo ... has been changed meanwhile: now its label is scarlet...
        >>> client.update(found.id, label="red", columns={"price": None}, confirmed=False).extra
        {}
        """
        given = {"columns": columns, "confirmed": confirmed}
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if not isinstance(label, EllipsisType):
            body["label"] = label
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        return self._http.read(IndexedPhoto, "PATCH", f"/images/{photo}", json=body, headers=headers)

    def remove(self, photo: uuid.UUID, *, forget: bool = False) -> None:
        """Remove a photo from the index; needs a key of the scope `write`.

        Its file is deleted only if it was added over HTTP. Jobs leave a photo of a library out until it is restored;
        `forget` lets the next job add it again.
        """
        self._http.send("DELETE", f"/images/{photo}", repeatable=False, params={"forget": forget})

    def restore(self, photo: uuid.UUID) -> IndexedPhoto:
        """Restore a removed photo without embedding it again; needs a key of the scope `write`."""
        return self._http.read(IndexedPhoto, "POST", f"/images/{photo}/restore")

    def labels(self, q: str = "") -> Iterator[LabelCount]:
        """Yield the labels with their numbers of photos, most frequent first; `q` is the start of a word of a label.

        >>> [label.label for label in client.labels("gr")]
        ['green']
        """
        for page in self._pages(responses.Labels, "/labels", q=q):
            yield from page.labels

    def saved_searches(self) -> Iterator[SavedSearch]:
        """Yield the searches that were saved with the key of this client, by name."""
        yield from self._http.read(responses.SavedSearchList, "GET", "/searches").searches

    def save_search(self, name: str, address: str) -> SavedSearch:
        """Save a search of the page under a name, in place of one with this name. Needs a key of the scope `write`.

        Args:
            name: a text without slashes.
            address: of the page with its results, or of a list of photos: path and query.

        >>> client.save_search("Red ones", "/photos?label=red").address
        '/photos?label=red'
        >>> client.rename_search("Red ones", "Reds").name
        'Reds'
        >>> [search.name for search in client.saved_searches()]
        ['Reds']
        >>> client.remove_search("Reds")
        >>> list(client.saved_searches())
        []
        """
        return self._http.read(SavedSearch, "PUT", _search_path(name), json={"address": address})

    def rename_search(self, name: str, new: str) -> SavedSearch:
        """Rename a saved search; needs a key of the scope `write`.

        Raises `NotFound` if there is none of this name, and `Conflict` if another one has the new name.
        """
        return self._http.read(SavedSearch, "PATCH", _search_path(name), repeatable=False, json={"name": new})

    def remove_search(self, name: str) -> None:
        """Remove a saved search, and the photo that was kept for it; needs a key of the scope `write`.

        Raises `NotFound` if there is none of this name.
        """
        self._http.send("DELETE", _search_path(name), repeatable=False)

    def queues(self) -> Queues:
        """Return how many photos wait in each queue of photos to review.

        Raises `NotFound` if a job has not computed the queues yet (`start_review`).
        """
        return self._http.read(Queues, "GET", "/queues")

    def queue(self, name: str) -> Iterator[QueuedPhoto]:
        """Yield the photos that wait in a queue, most important first.

        Args:
            name: `mislabelled`, `unlabelled` (with a confident suggestion), `informative` (most useful to label next)
                or `duplicates`.
        """
        for page in self._pages(responses.QueuedPhotos, f"/queues/{name}"):
            yield from page.photos

    def keep_duplicate(self, photo: uuid.UUID, *, keep: bool = True) -> None:
        """Keep a photo although it is a duplicate, or undo that; needs a key of the scope `write`."""
        method = "POST" if keep else "DELETE"
        self._http.send(method, f"/queues/duplicates/{photo}/keep")

    def jobs(self) -> Iterator[Job]:
        """Yield the jobs, newest first."""
        for page in self._pages(responses.Jobs, "/jobs"):
            yield from page.jobs

    def job(self, job: str) -> Job:
        """Return the current state of a job."""
        return self._http.read(Job, "GET", f"/jobs/{job}")

    def failures(self, job: str) -> Iterator[FailedPhoto]:
        """Yield the photos that a job could not index, oldest first."""
        for page in self._pages(responses.Failures, f"/jobs/{job}/failures"):
            yield from page.failures

    def start_job(
        self,
        *sources: str | os.PathLike[str],
        label_from: str | None = None,
        sync: bool = False,
        exclude: Sequence[str] = (),
        include_hidden: bool = False,
        relabel: bool = False,
        allow_removing: str | None = None,
        model: str | None = None,
    ) -> Job:
        """Start to index folders and manifests on the server; needs a key of the scope `write`.

        The arguments are the fields of `POST /jobs` (docs/api.md). Raises `Conflict` if another job is running.

        >>> job = client.wait(client.start_job(library, sync=True).id)
        >>> job.state, job.failed, list(client.failures(job.id))
        ('done', 0, [])
        >>> next(client.jobs()).id == client.cancel(job.id).id == job.id
        True
        """
        options = {"label_from": label_from, "allow_removing": allow_removing, "model": model}
        flags = {"sync": sync, "include_hidden": include_hidden, "relabel": relabel, "exclude": list(exclude)}
        return self._start("/jobs", {"sources": [os.fspath(source) for source in sources], **options, **flags})

    def start_map(self) -> Job:
        """Start to compute the map of all photos; needs a key of the scope `write`."""
        return self._start("/jobs", {"kind": "map"})

    def start_review(self) -> Job:
        """Start to compute the queues of photos to review; needs a key of the scope `write`."""
        return self._start("/jobs", {"kind": "review"})

    def retry(self, job: str) -> Job:
        """Start a job for the photos that failed in another job; needs a key of the scope `write`."""
        return self._start(f"/jobs/{job}/retry")

    def cancel(self, job: str) -> Job:
        """Cancel a job after its current batch; one that has ended stays. Needs a key of the scope `write`."""
        return self._http.read(Job, "POST", f"/jobs/{job}/cancel")

    def wait(self, job: str, *, timeout: float | None = None, on_progress: Callable[[Job], None] | None = None) -> Job:
        """Wait until a job has ended, and return it; its `state` says how it ended.

        Args:
            job: the id of the job.
            timeout: in seconds; None to wait as long as the job runs.
            on_progress: called with each state of the job that is received, including the last.

        Raises `TimeoutError` if the job is still running after `timeout` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        for attempt in count():
            now = self.job(job)
            if on_progress is not None:
                on_progress(now)
            if not now.is_running:
                return now
            pause = POLLS_SECONDS[min(attempt, len(POLLS_SECONDS) - 1)]
            if end is not None and time.monotonic() + pause > end:
                raise TimeoutError(f"The job {job} is still running after {timeout:g} seconds.")
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _search(self, query: dict[str, Any]) -> SearchResults:
        return self._http.read(SearchResults, "POST", "/search", json=query)

    def _start(self, path: str, body: dict[str, Any] | None = None) -> Job:
        return self._http.read(Job, "POST", path, repeatable=False, json=body)

    def _pages(self, model: type[responses.PageT], path: str, **params: Any) -> Iterator[responses.PageT]:
        """Yield the pages of a list until one is not full."""
        for start in count(0, PAGE):
            page = self._http.read(model, "GET", path, params={**params, "limit": PAGE, "offset": start})
            yield page
            if start + PAGE >= page.total:
                return


class _FailedQuery(responses.Response):
    error: dict[str, Any]


class _Answers(responses.Response):
    answers: list[SearchResults | _FailedQuery]


def _json(options: Options) -> dict[str, Any]:
    """The options of a search as JSON fields, in which `label` is a list."""
    label = options.get("label")
    return {**options} if label is None else {**options, "label": [label] if isinstance(label, str) else list(label)}


def _text(options: Options) -> dict[str, Any]:
    """The options of a search as fields of a form or a query string, in which `where` is JSON."""
    where = options.get("where")
    return {**options} if where is None else {**options, "where": json.dumps(where)}


def _query(photo: Photo | uuid.UUID, crop: Crop | None) -> dict[str, Any]:
    box = {} if crop is None else {"crop": dict(zip(("x", "y", "width", "height"), crop, strict=True))}
    subject = {"id": str(photo)} if isinstance(photo, uuid.UUID) else {"image_base64": _base64(encoded(photo))}
    return subject | box


def _search_path(name: str) -> str:
    return f"/searches/{quote(name, safe='')}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _file(data: bytes) -> tuple[str, bytes, str]:
    return "photo", data, "application/octet-stream"


def _batches(queries: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Group queries into requests that are not too large."""
    batch: list[dict[str, Any]] = []
    size = 0
    for query in queries:
        length = len(query.get("image_base64", "")) * 3 // 4
        if batch and (len(batch) == MOST_PHOTOS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(query)
        size += length
    if batch:
        yield batch
