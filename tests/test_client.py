"""`lookalike.Client` on a real server: its doctests, what it uploads, how it repeats requests, and its errors."""

import doctest
import io
import json
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import make
import numpy as np
import pytest
from marks import slow
from PIL import Image
from pydantic import SecretStr
from serving import Site, site
from tenacity import wait_none
from waiting import free_port
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

import lookalike
from indexer.review.queues import Queued, QueueName, save_queues
from lookalike.client import (
    ApiError,
    Client,
    InvalidRequest,
    NotFound,
    SearchResults,
    ServerUnreachable,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnreadablePhoto,
    client,
    http,
    responses,
)
from lookalike.client.photos import encoded
from retrieval.bundle import Bundle
from retrieval.settings import Settings
from web.app import create_app
from web.services import EXTENSION

KEY = "sesame"
ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def listening(app: Callable[..., object]) -> Iterator[str]:
    """Serve an application on a thread; yields its address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Place:
    url: str
    site: Site
    library: Path

    @property
    def photo(self) -> Path:
        return self.library / "red" / "0.jpg"

    def with_settings(self, **settings: object) -> Callable[..., object]:
        return create_app(self.site.settings.model_copy(update=settings), self.site.store, self.site.searcher)


@pytest.fixture(scope="module")
def place(bundle: Bundle, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server whose photos and index these tests may change."""
    folder = tmp_path_factory.mktemp("client")
    photos = Path(shutil.copytree(library, folder / "library"))
    settings = Settings(home=folder / "home", embedding_threads=1).model_copy(
        update={"api_keys": (SecretStr(KEY),), "library_roots": (photos,)}
    )
    with site(settings, bundle, photos) as built, listening(built.app) as url:
        yield Place(url, built, photos)
        built.app.extensions[EXTENSION].jobs.close()


@pytest.fixture
def to(place: Place) -> Iterator[Client]:
    with Client(place.url, key=KEY) as opened:
        yield opened


EXAMPLES = {found.name.rpartition(".")[2]: found for found in doctest.DocTestFinder().find(client) if found.examples}
RUN_JOBS = {"start_job"}


@pytest.mark.parametrize("name", [*sorted(EXAMPLES.keys() - RUN_JOBS), *map(slow, RUN_JOBS)])
def test_the_examples_of_the_docstrings(name: str, place: Place, to: Client) -> None:
    example = EXAMPLES[name]
    given = {"client": to, "Client": Client, "url": place.url, "key": KEY}
    example.globs = {**given, "photo": place.photo, "library": place.library}
    said = io.StringIO()
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    doctest.DocTestRunner(optionflags=options).run(example, out=said.write, clear_globs=False)
    assert said.getvalue() == ""


def test_the_examples_of_the_documentation(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new").mkdir()
    for name in ("photo.jpg", "new/good.jpg"):
        shutil.copy(place.photo, tmp_path / name)
    (tmp_path / "new" / "bad.jpg").write_bytes(b"<html></html>")
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), flags=re.DOTALL):
        exec(block.replace(client.DEFAULT_URL, place.url).replace("rose", "red"), {})
    *found, bad, good = capsys.readouterr().out.splitlines()
    assert found[0] == "1.00 red red/0.jpg" and len(found) == 5
    assert bad.startswith("new/bad.jpg It is an HTML page") and good == "new/good.jpg red"


def test_importing_it_loads_no_heavy_library() -> None:
    heavy = {"numpy", "PIL", "onnxruntime", "tensorflow", "qdrant_client", "qdrant_edge", "flask", "celery", "sklearn"}
    code = f"import sys, lookalike; lookalike.Client(); print(sorted({heavy} & sys.modules.keys()))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"
    assert lookalike.Client is Client


def test_it_reads_fields_that_the_server_sends(place: Place) -> None:
    schemas = place.site.client.get("/openapi.json").get_json()["components"]["schemas"]
    for name, model in {
        "Found": responses.SearchResult,
        "SearchResults": responses.SearchResults,
        "PredictedLabel": responses.PredictedLabel,
        "ScoreBands": responses.ScoreBands,
        "Photo": responses.IndexedPhoto,
        "FailedPhoto": responses.FailedPhoto,
        "LabelCount": responses.LabelCount,
        "Part": responses.Part,
        "Queues": responses.Queues,
        "QueueCount": responses.QueueCount,
        "QueuedPhoto": responses.QueuedPhoto,
        "Embeddings": responses.Embeddings,
        "ImageList": responses.ImageList,
        "Search": responses.SavedSearch,
    }.items():
        assert set(model.model_fields) <= set(schemas[name]["properties"]), name
    assert set(responses.Job.model_fields) <= set(schemas["Job"]["properties"])


def test_paths_bytes_arrays_and_images_find_the_same(to: Client, place: Place) -> None:
    with Image.open(place.photo) as opened:
        image = opened.convert("RGB")
    expected = [one.id for one in to.search(place.photo, k=3, label=["red"], exact=True).results]
    for way in (str(place.photo), place.photo.read_bytes(), np.asarray(image), image):
        found = to.search(way, k=3, label="red", exact=True).results
        assert [one.id for one in found] == expected, type(way)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK", "YCbCr", "LAB", "HSV", "F"])
def test_images_of_every_mode_keep_their_size_and_can_be_read(mode: str) -> None:
    with Image.open(io.BytesIO(encoded(Image.new(mode, (7, 5))))) as again:
        assert again.size == (7, 5)


def test_an_image_with_an_orientation_is_uploaded_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(make.encoded(make.photo(size=(40, 20)), exif=exif))) as turned:
        assert Image.open(io.BytesIO(encoded(turned))).size == (20, 40)


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros(4, np.uint8), np.zeros((4, 4, 2), np.uint8)])
def test_an_array_that_holds_no_pixels_is_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels are uint8"):
        encoded(array)
    with pytest.raises(TypeError, match="not int"):
        encoded(7)  # type: ignore[arg-type]


def test_a_crop_is_searched(to: Client, place: Place) -> None:
    crop = (0.25, 0.0, 0.5, 0.5)
    by_file = to.search(place.photo, crop=crop, k=3)
    (photo,) = (photo.id for photo in place.site.photos if photo.path == place.photo)
    by_id = to.search(photo, crop=crop, k=2)
    assert [one.id for one in by_id.results] == [one.id for one in by_file.results if one.id != photo][:2]


def test_every_search_takes_a_filter(to: Client, place: Place) -> None:
    where = {"path": {"prefix": "blue/"}}
    (photo,) = (photo.id for photo in place.site.photos if photo.path == place.photo)
    many = next(to.search_many([place.photo], where=where, k=3))
    assert isinstance(many, SearchResults)
    for found in (to.search(place.photo, where=where, k=3), to.search(photo, where=where, k=3), many):
        assert [one.label for one in found.results] == ["blue"] * 3
    assert to.similar(photo, where=where, k=3).results[0].label == "blue"
    with pytest.raises(InvalidRequest, match="colour"):
        to.similar(photo, where={"colour": "red"})


def test_more_photos_than_a_request_holds_are_searched_for_in_order(to: Client, place: Place) -> None:
    ids = [photo.id for photo in place.site.photos] * 5
    found = list(to.search_many(iter([*ids, uuid.uuid4()]), k=1))
    assert len(ids) > client.MOST_PHOTOS and len(found) == len(ids) + 1
    assert isinstance(found[-1], NotFound)
    alone = {photo: to.similar(photo, k=1).results for photo in set(ids)}
    assert [one.results for one in found[:-1] if isinstance(one, SearchResults)] == [alone[photo] for photo in ids]


def test_large_photos_are_sent_in_several_requests() -> None:
    sizes = [5_000_000, 6_000_000, 2_000_000, 13_000_000, 1]
    queries = [{"image_base64": "A" * (size * 4 // 3)} for size in sizes]
    assert [len(batch) for batch in client._batches(iter(queries))] == [2, 1, 1, 1]


def test_pages_are_followed(to: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = list(to.labels())
    images = list(to.images(sort="-name"))
    monkeypatch.setattr(client, "PAGE", 2)
    assert list(to.labels()) == everything and len(everything) >= 3
    monkeypatch.setattr(client, "PAGE", 4)
    assert list(to.images(sort="-name")) == images and len(images) > 8


def test_problems_are_exceptions(place: Place, to: Client) -> None:
    with pytest.raises(UnreadablePhoto, match="HTML page") as unreadable:
        to.search(b"<html></html>")
    assert unreadable.value.remedy and unreadable.value.problem.request_id
    with pytest.raises(InvalidRequest) as invalid:
        to.search(place.photo, k=0)
    assert invalid.value.problem.status == 422 and "greater than or equal to 1" in invalid.value.problem.fields["k"]
    with pytest.raises(NotFound, match="There is no indexed photo"):
        to.photo(uuid.uuid4())
    with Client(place.url) as stranger, pytest.raises(Unauthorized, match="needs a key"):
        stranger.add(place.photo)
    with pytest.raises(FileNotFoundError):
        to.search("missing.jpg")


def test_a_rate_limit_is_waited_for(place: Place) -> None:
    with listening(place.with_settings(rate_limit="2 per second")) as url, Client(url) as limited:
        assert [len(list(limited.labels())) for _ in range(4)] == [3] * 4
    with listening(place.with_settings(rate_limit="1 per hour")) as url, Client(url, longest_wait=5) as limited:
        list(limited.labels())
        with pytest.raises(TooManyRequests) as refused:
            list(limited.labels())
        assert refused.value.retry_after is not None and refused.value.retry_after > 5


@contextmanager
def answering(*answers: Response | None) -> Iterator[tuple[str, list[str]]]:
    """A server that gives these answers in turn, and closes the connection for None; yields its address and a log."""
    left, log = list(answers), []

    @Request.application
    def app(request: Request) -> Response:
        log.append(request.method)
        answer = left.pop(0)
        if answer is None:
            raise ConnectionAbortedError
        return answer

    with listening(app) as url:
        yield url, log


def labels() -> Response:
    return Response('{"labels": [], "total": 0}', mimetype="application/json")


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts follow each other without pauses, unless the server asks for one."""
    monkeypatch.setattr(http, "BACKOFF", wait_none())


@pytest.mark.usefixtures("at_once")
def test_a_busy_server_is_asked_again_when_it_says() -> None:
    soon = format_datetime(datetime.now(UTC) - timedelta(seconds=1), usegmt=True)
    busy = [Response(status=503, headers={"Retry-After": after}) for after in ("0", soon)]
    with answering(*busy, labels()) as (url, log), Client(url) as to:
        assert list(to.labels()) == [] and log == ["GET"] * 3


@pytest.mark.usefixtures("at_once")
def test_it_gives_up_after_some_attempts_and_never_starts_a_job_twice() -> None:
    page = Response("<h1>Bad gateway</h1>", 502, mimetype="text/html")
    with answering(page, page, page) as (url, log), Client(url, attempts=2) as to:
        with pytest.raises(Unavailable, match="502 Bad Gateway"):
            list(to.labels())
        assert log == ["GET"] * 2
        with pytest.raises(Unavailable):
            to.start_map()
        assert log == ["GET", "GET", "POST"]


def test_photos_to_review_are_listed_and_kept(place: Place, to: Client) -> None:
    one, other = place.site.photos[:2]
    queues: dict[QueueName, list[Queued]] = {"duplicates": [Queued(one.id, one.label, duplicate_of=other.id)]}
    save_queues(place.site.settings, place.site.searcher.index.model, len(place.site.photos), queues)
    assert {queue.name: queue.total for queue in to.queues().queues}["duplicates"] == 1
    (found,) = to.queue("duplicates")
    assert (found.photo.id, found.duplicate_of, found.suggested) == (one.id, other.id, None)
    to.keep_duplicate(one.id)
    assert [*to.queue("duplicates")] == []
    to.keep_duplicate(one.id, keep=False)
    assert len([*to.queue("duplicates")]) == 1


@pytest.mark.usefixtures("at_once")
def test_a_server_that_is_not_there_or_another_one_is_named() -> None:
    with (
        Client(f"http://127.0.0.1:{free_port()}/api/v1/", attempts=2) as to,
        pytest.raises(ServerUnreachable, match=r"The server http://127.0.0.1:\d+ does not respond"),
    ):
        list(to.labels())
    with answering(Response("{}")) as (url, _), Client(url) as to, pytest.raises(ServerUnreachable, match="not as a"):
        list(to.labels())
    with Client("photos.example", attempts=2) as to, pytest.raises(ServerUnreachable, match="does not respond"):
        list(to.labels())


def test_waiting_for_a_job_ends_in_time() -> None:
    counts = dict.fromkeys(("seen", "indexed", "unchanged", "moved", "removed", "failed", "skipped", "seconds"), 0)
    texts = {"id": "1", "kind": "map", "model": "m", "state": "running", "started_at": ""}
    job = json.dumps({**texts, **counts, "sources": [], "notices": [], "error": None, "started_by": None, "sync": True})
    seen: list[object] = []
    running = answering(*[Response(job, mimetype="application/json")] * 4)
    ends = pytest.raises(TimeoutError, match=r"still running after 0\.15 seconds")
    with running as (url, _), Client(url) as to, ends:
        to.wait("1", timeout=0.15, on_progress=lambda job: seen.append(job.model_extra))
    assert seen and all(extra == {"sync": True} for extra in seen)


def test_every_kind_of_error_is_an_api_error() -> None:
    with answering(Response(status=418)) as (url, _), Client(url) as to, pytest.raises(ApiError, match="418 I'm a"):
        list(to.labels())
