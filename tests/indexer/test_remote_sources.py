"""Photos at URLs: S3 over its own protocol, archives, memory, manifests over HTTP."""

import functools
import hashlib
import http.server
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import make
import pytest

from indexer.batch import BatchIndexer, BatchResult
from indexer.removal import remove_gone
from indexer.sources import list_sources
from retrieval.bundle import Bundle
from retrieval.errors import BadSource
from retrieval.index import VectorIndex
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings
from retrieval.source_policy import SourcePolicy
from retrieval.stores.remote import RemoteStore

BUCKET = "photos"
URLS = SourcePolicy(allow_urls=True)


def run(indexer: BatchIndexer, *sources: str) -> tuple[int, ...]:
    """Seen, indexed, unchanged and failed."""
    outcomes = list(indexer.run(list_sources(sources, policy=URLS)))
    counted = ((outcome.seen, outcome.indexed, outcome.unchanged, len(outcome.failures)) for outcome in outcomes)
    return tuple(map(sum, zip(*counted, strict=True)))


def names(photos) -> set[str]:
    return {photo.uri for photo in photos}


def test_a_bucket_is_indexed_like_the_folder_it_was_made_of(
    s3, indexer: BatchIndexer, index: VectorIndex, library: Path
) -> None:
    assert run(indexer, f"s3://{BUCKET}/2026") == (24, 24, 0, 0)
    remote = {point.payload.sha256: point for point in index.scroll()}
    assert run(indexer, str(library)) == (24, 24, 0, 0)
    for point in index.scroll():
        twin = remote[point.payload.sha256]
        assert (twin.vector == point.vector).all()
        assert twin.payload.label == point.payload.label
    assert {point.payload.uri for point in remote.values()} >= {f"s3://{BUCKET}/2026/red/0.jpg"}


def test_only_what_changed_in_a_bucket_is_read_again(
    s3, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(indexer, f"s3://{BUCKET}/2026/")
    reads: list[str] = []
    read = RemoteStore.read
    monkeypatch.setattr(RemoteStore, "read", lambda self, uri, *limit: reads.append(uri) or read(self, uri, *limit))
    assert run(indexer, f"s3://{BUCKET}/2026") == (24, 0, 24, 0)
    assert reads == []
    s3.put_object(Bucket=BUCKET, Key="2026/red/0.jpg", Body=make.encoded(make.photo("blue", 77)))
    assert run(indexer, f"s3://{BUCKET}/2026") == (24, 1, 23, 0)
    assert reads == [f"s3://{BUCKET}/2026/red/0.jpg"]


@pytest.mark.slow
def test_sync_removes_what_left_the_bucket_and_nothing_where_it_cannot_be_listed(
    s3, indexer: BatchIndexer, index: VectorIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(indexer, f"s3://{BUCKET}/2026")
    s3.delete_object(Bucket=BUCKET, Key="2026/red/0.jpg")
    assert remove_gone(index, [f"s3://{BUCKET}/2026"], policy=URLS).removed == 1
    with pytest.raises(BadSource):
        remove_gone(index, ["s3://no-such-bucket/2026"], policy=URLS)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(BadSource):
        remove_gone(index, [f"s3://{BUCKET}/2026"], policy=URLS)
    assert index.count() == 23


def test_credentials_that_fail_are_one_sentence(s3, indexer: BatchIndexer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.delenv(f"AWS_{name}")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(BadSource, match="credentials"):
        run(indexer, f"s3://{BUCKET}/2026")


def test_a_bucket_that_vanishes_midway_loses_nothing(s3, indexer: BatchIndexer, index: VectorIndex) -> None:
    run(indexer, f"s3://{BUCKET}/2026")
    told: list[str] = []
    photos = list_sources([f"s3://{BUCKET}/2026"], None, lambda entry: told.append(entry.uri), policy=URLS)
    some = [next(photos) for _ in range(3)]
    for entry in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    outcomes = list(indexer.run(PhotoRef(photo.uri, "other") for photo in (*some, *photos)))
    assert sum(len(outcome.failures) for outcome in outcomes) == sum(outcome.seen for outcome in outcomes) > 0
    assert "does not exist" in outcomes[0].failures[0].reason
    assert told == [f"s3://{BUCKET}/2026/green", f"s3://{BUCKET}/2026/red"]
    assert index.count() == 24


@pytest.mark.slow
def test_the_command_line_indexes_a_bucket(s3, command, bundle: Bundle) -> None:
    result = command("index", f"s3://{BUCKET}/2026", "--bundle", bundle.folder, "--sync", "--json").json
    assert (result["seen"], result["indexed"], result["crosscheck"]["passed"]) == (24, 24, True)


def test_photos_in_an_archive_have_the_archives_name_in_theirs(
    indexer: BatchIndexer, index: VectorIndex, library: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in library.rglob("*.jpg"):
            file.write(path, f"all/{path.relative_to(library)}")
    source = f"zip://all::{archive}"
    assert f"zip://all/red/0.jpg::file://{archive}" in names(list_sources([source], policy=URLS))
    assert run(indexer, source) == (24, 24, 0, 0)
    assert run(indexer, f"zip://all/::file://{archive}") == (24, 0, 24, 0)
    assert index.labels() == {"red": 8, "green": 8, "blue": 8}


def test_an_archive_is_opened_once_and_again_when_it_is_replaced(
    indexer: BatchIndexer, index: VectorIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "photos.zip"
    opened: list[object] = []
    original = zipfile.ZipFile._RealGetContents
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", lambda self: (opened.append(self), original(self)))
    for seed in (1, 2):
        with zipfile.ZipFile(archive, "w") as file:
            for number in range(20):
                file.writestr(f"{number}.jpg", make.encoded(make.photo("red", seed)) + b"%d" % number)
        opened.clear()
        assert run(indexer, f"zip://::file://{archive}") == (20, 20, 0, 0)
        assert len(opened) == 1
    assert {point.payload.sha256 for point in index.scroll()} == {
        hashlib.sha256(make.encoded(make.photo("red", 2)) + b"%d" % number).hexdigest() for number in range(20)
    }


def test_a_name_that_no_store_can_have_is_told_by_line(indexer: BatchIndexer) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/own/red.jpg", make.encoded(make.photo("red")))
    memory.pipe("/own/list.csv", b"path,label\na\x81.jpg,red\nred.jpg,red\n")
    told: list[tuple[str, str]] = []
    photos = list_sources(["memory://own/list.csv"], None, lambda bad: told.append((bad.uri, bad.reason)), policy=URLS)
    assert sum(outcome.indexed for outcome in indexer.run(photos)) == 1
    assert "line 2: no file can have the name a\\x81.jpg" in told[0][1]
    memory.rm("/own", recursive=True)


def test_memory_is_a_store_too(indexer: BatchIndexer, index: VectorIndex) -> None:
    memory = fsspec.filesystem("memory")
    for label in make.COLOURS:
        memory.pipe(f"/own/{label}/1.jpg", make.encoded(make.photo(label)))
    assert run(indexer, "memory://own") == (3, 3, 0, 0)
    assert run(indexer, "memory://own") == (3, 0, 3, 0)
    memory.rm("/own/red", recursive=True)
    assert remove_gone(index, ["memory://own"], policy=URLS).removed == 1
    memory.rm("/own", recursive=True)
    with pytest.raises(BadSource):
        remove_gone(index, ["memory://own"], policy=URLS)


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    folder = make.library(tmp_path / "site", per_label=1)
    (folder / "list.jsonl").write_text(
        json.dumps({"path": "red/0.jpg", "label": "crimson", "camera": "X100", "iso": 400})
        + "\n"
        + json.dumps({"path": "missing.jpg"})
    )
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_manifest_over_http_names_photos_beside_it(
    website: str, indexer: BatchIndexer, index: VectorIndex, tmp_path: Path
) -> None:
    assert run(indexer, f"{website}/list.jsonl") == (2, 1, 0, 1)
    (point,) = index.scroll()
    assert (point.payload.uri, point.payload.label) == (f"{website}/red/0.jpg", "crimson")
    assert point.payload.extra == {"camera": "X100", "iso": 400}
    local = tmp_path / "list.csv"
    local.write_text(f"path,label\n{website}/blue/0.jpg,blue\n")
    assert run(indexer, str(local)) == (1, 1, 0, 0)


def test_where_a_store_tells_no_version_the_content_decides(
    website: str, indexer: BatchIndexer, index: VectorIndex, tmp_path: Path
) -> None:
    """Python's little web server sends no ETag."""
    assert run(indexer, f"{website}/list.jsonl") == (2, 1, 0, 1)
    assert run(indexer, f"{website}/list.jsonl") == (2, 0, 1, 1)
    (tmp_path / "site" / "red" / "0.jpg").write_bytes(make.encoded(make.photo("red", 42)))
    assert run(indexer, f"{website}/list.jsonl") == (2, 1, 0, 1)


@pytest.mark.parametrize("url", ["nosuch://x/y", "s3://", "zip://a::/no/such.zip", "http://127.0.0.1:1/list.csv"])
def test_a_url_that_leads_nowhere_is_one_sentence(url: str, indexer: BatchIndexer, settings: Settings) -> None:
    with pytest.raises(BadSource):
        run(indexer, url)


def test_no_url_is_fetched_without_leave(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\nhttp://127.0.0.1:1/x.jpg\n")
    for source in ("http://127.0.0.1:1/list.csv", "s3://bucket", "zip://x::http://127.0.0.1:1/x.zip"):
        with pytest.raises(BadSource, match="is a URL"):
            list_sources([source])
        with pytest.raises(BadSource, match="is a URL"):
            list(list_photos(source))
    with pytest.raises(BadSource, match=r"line 2: http://127.0.0.1:1/x.jpg is a URL"):
        list(list_photos(tmp_path / "list.csv", "manifest"))


def test_a_line_of_the_wrong_shape_is_told_and_the_rest_goes_on(
    library: Path, indexer: BatchIndexer, index: VectorIndex
) -> None:
    rows = [
        {"path": "red/0.jpg", "label": "red", "price": 9.5, "sold": False, "note": None},
        {"path": 7},
        {"path": "red/1.jpg", "tags": {"a": 1}},
        {"path": "red/2.jpg", "big": 2**70},
        {"path": "red/3.jpg"},
    ]
    manifest = library.parent / "rows.jsonl"
    manifest.write_text("\n".join([*map(json.dumps, rows), "{"]).replace("red/", f"{library}/red/"))
    told: list[tuple[str, str]] = []
    outcomes: list[BatchResult] = list(
        indexer.run(list_sources([str(manifest)], None, lambda bad: told.append((bad.uri, bad.reason))))
    )
    assert sum(outcome.indexed for outcome in outcomes) == 2
    assert [uri.rpartition("#")[2] for uri, _ in told] == ["line=2", "line=3", "line=4", "line=6"]
    assert 'line 3: tags is {"a": 1}' in told[1][1]
    assert [p.payload.extra for p in index.scroll() if p.payload.label] == [{"price": 9.5, "sold": False}]


def test_a_csv_keeps_its_other_columns(library: Path, indexer: BatchIndexer, index: VectorIndex) -> None:
    manifest = library.parent / "rows.csv"
    photo = library / "red" / "0.jpg"
    manifest.write_text(f"path,label,split,camera\n{photo},red,train,X100\n{photo},red,train,X100,7\n")
    told: list[tuple[str, str]] = []
    assert len(list(list_sources([str(manifest)], None, lambda bad: told.append((bad.uri, bad.reason))))) == 1
    assert "line 3, has more columns than the first line names" in told[0][1]
    for _ in indexer.run(list_sources([str(manifest)], None, lambda _: None)):
        pass
    (point,) = index.scroll()
    assert point.payload.extra == {"camera": "X100"}
    manifest.write_text(manifest.read_text().replace("X100", "X200"))
    for outcome in indexer.run(list_sources([str(manifest)], None, lambda _: None)):
        assert outcome.indexed == 1
    (point,) = index.scroll()
    assert point.payload.extra == {"camera": "X200"}
