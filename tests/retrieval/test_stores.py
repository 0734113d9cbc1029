"""Local folders and stores at URLs behave alike behind one interface."""

import http.server
import json
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import fsspec
import pytest

from retrieval.errors import BadSource, MissingPhoto, UnreadablePhoto
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.source_policy import SourcePolicy
from retrieval.stores import PhotoStore, photo_status, read_photo, store_of
from retrieval.walk import walk

FILES = {"red/1.jpg": b"one", "red/2020/2.png": b"two", "blue/3.webp": b"three", "4.gif": b"four", "notes.txt": b"no"}


@pytest.fixture(params=["local", "memory", "zip"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The same photos in a local folder, at a URL and in an archive."""
    if request.param == "local":
        for name, content in FILES.items():
            (tmp_path / "own" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "own" / name).write_bytes(content)
        yield str(tmp_path / "own")
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        memory.pipe({f"/own/{name}": content for name, content in FILES.items()})
        yield "memory://own"
        memory.rm("/own", recursive=True)
    else:
        with zipfile.ZipFile(tmp_path / "own.zip", "w") as file:
            for name, content in FILES.items():
                file.writestr(f"own/{name}", content)
        yield f"zip://own::{tmp_path}/own.zip"


def store_and_photos(source: str) -> tuple[PhotoStore, list[PhotoRef]]:
    store = store_of(source)
    return store, list(walk(source))


def test_a_walk_finds_photos_in_a_fixed_order_with_their_labels(source: str) -> None:
    store, photos = store_and_photos(source)
    names = [photo.uri.partition("::")[0].partition("own/")[2] for photo in photos]
    assert names == ["4.gif", "blue/3.webp", "red/1.jpg", "red/2020/2.png"]
    assert [photo.label for photo in photos] == ["own", "blue", "red", "red"]
    start, end = store.prefix(source)
    assert all(photo.uri.startswith(start) and photo.uri.endswith(end) for photo in photos)
    assert store.is_folder(source)


def test_a_photo_is_read_within_a_limit(source: str) -> None:
    _, photos = store_and_photos(source)
    for photo, content in zip(photos, (b"four", b"three", b"one", b"two"), strict=True):
        assert read_photo(photo) == read_photo(photo, len(content)) == content
        status = photo_status(photo)
        assert status.size == len(content)
        assert status.is_sure
        with pytest.raises(
            UnreadablePhoto, match=rf"has {len(content)} bytes, more than the 2 .*LOOKALIKE_MAX_FILE_MB"
        ):
            read_photo(photo, 2)
        with pytest.raises(UnreadablePhoto, match="more than the 2 allowed"):
            read_photo(PhotoRef(photo.uri), 2)


def test_a_photo_that_is_gone_is_missing(source: str) -> None:
    _, photos = store_and_photos(source)
    gone = PhotoRef(photos[0].uri.replace("4.gif", "5.gif"))
    with pytest.raises(MissingPhoto):
        read_photo(gone)
    with pytest.raises(MissingPhoto):
        photo_status(gone)


def test_a_folder_that_is_gone_cannot_be_listed(source: str) -> None:
    with pytest.raises(BadSource, match="can't be listed"):
        list(walk(source.replace("own", "other", 1) if "::" in source else f"{source}-other"))


def test_a_large_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """A sparse file of 1 TB takes no space, and could not be read."""
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(UnreadablePhoto, match=r"has 1,000,000,000,000 bytes, more than the 200,000,000 allowed"):
        read_photo(PhotoRef(path.as_uri()))


class Endless(http.server.BaseHTTPRequestHandler):
    """Sends bytes without saying how many: a photo of 3 MB at /photo.jpg, and bytes without end elsewhere."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        with suppress(OSError):  # the client has read enough
            for _ in range(3) if self.path == "/photo.jpg" else count():
                self.wfile.write(b"x" * 1_000_000)

    def log_message(self, *words: object) -> None:
        pass


def test_a_file_of_unknown_size_is_read_up_to_the_limit() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        threading.Thread(target=server.serve_forever).start()
        site = f"http://127.0.0.1:{server.server_port}"
        assert len(read_photo(PhotoRef(f"{site}/photo.jpg"))) == 3_000_000
        with pytest.raises(UnreadablePhoto, match="more than the 5,000,000 allowed"):
            read_photo(PhotoRef(f"{site}/endless.jpg"), 5_000_000)
        server.shutdown()


@pytest.mark.slow
def test_a_remote_manifest_is_not_read_into_memory() -> None:
    row = json.dumps({"path": "x.jpg", "note": "x" * 1000}) + "\n"
    memory = fsspec.filesystem("memory")
    memory.pipe("/own/list.jsonl", row.encode() * 12_000)
    tracemalloc.start()
    photos = list_photos("memory://own/list.jsonl", policy=SourcePolicy(allow_urls=True))
    assert next(photos).uri == "memory:///own/x.jpg"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    photos.close()
    memory.rm("/own", recursive=True)
    assert peak < 10_000_000, peak


def test_the_first_bytes_of_a_file_are_read_alone(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"0123456789")
    fsspec.filesystem("memory").pipe("/head/1.jpg", b"0123456789")
    for uri in ((tmp_path / "1.jpg").as_uri(), "memory://head/1.jpg"):
        assert store_of(uri).head(uri, 4) == b"0123"
        with pytest.raises(MissingPhoto):
            store_of(uri).head(uri.replace("1.jpg", "2.jpg"), 4)


def test_a_file_of_unknown_size_is_read_completely() -> None:
    """Files in /proc have a size of 0 bytes."""
    path = Path("/proc/self/status")
    if not path.exists():
        pytest.skip("there is no /proc on this machine")
    assert path.stat().st_size == 0
    assert len(read_photo(PhotoRef(path.as_uri()))) > 500
