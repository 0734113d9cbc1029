"""A batch of photos: what gets into the index, what is skipped, and what fails without stopping the rest."""

import hashlib
import os
import struct
import zipfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import make
import numpy as np
import pytest
from flushes import Flushes
from PIL import Image

import indexer.batch
from indexer.batch import BATCH, BatchIndexer
from retrieval.bundle import Bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.index import VectorIndex
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef, display, photo_id, uri_of
from retrieval.session import PROVIDERS
from retrieval.source_policy import SourcePolicy
from retrieval.stores import read_photo


def run(indexer: BatchIndexer, photos) -> tuple[int, int, int, dict[str, str]]:
    """Seen, indexed, unchanged, and the reasons by the names of the failed photos."""
    outcomes = list(indexer.run(photos))
    failures = {PhotoRef(failure.uri).path.name: failure.reason for o in outcomes for failure in o.failures}
    counted = ("seen", "indexed", "unchanged")
    return *(sum(getattr(outcome, name) for outcome in outcomes) for name in counted), failures


def one_photo(folder: Path, content: bytes, name: str = "x.jpg") -> PhotoRef:
    (folder / name).write_bytes(content)
    return PhotoRef(uri_of(folder / name))


def test_a_point_has_the_photos_embedding_and_payload(
    indexer: BatchIndexer, index: VectorIndex, bundle: Bundle, library: Path
) -> None:
    assert run(indexer, list_photos(library)) == (24, 24, 0, {})
    path = library / "green" / "3.jpg"
    photo = photo_id(uri_of(path))
    payload = index.get([photo])[photo]
    data = path.read_bytes()
    assert (payload.uri, payload.label, payload.bytes) == (uri_of(path), "green", len(data))
    assert (payload.width, payload.height) == (120, 90)
    assert payload.sha256 == hashlib.sha256(data).hexdigest()
    microseconds = os.stat(path).st_mtime_ns // 1000
    modified = datetime.fromisoformat(payload.modified_at)
    assert modified.utcoffset().total_seconds() == 0
    assert round(modified.timestamp() * 1e6) == microseconds
    assert datetime.fromisoformat(payload.indexed_at) <= datetime.now(UTC)
    expected = Embedder(bundle, threads=1).embed(PhotoDecoder().read_pixels(data, bundle.resize).pixels[None])[0]
    np.testing.assert_allclose(index.vectors([photo])[photo], expected, atol=1e-6)


def test_a_batch_is_flushed_before_it_is_counted(indexer: BatchIndexer, library: Path, flushes: Flushes) -> None:
    for outcome in indexer.run(list_photos(library)):
        assert outcome.indexed
        assert flushes.paths[-1].name == "wal"
        flushes.paths.clear()


def test_more_photos_than_a_batch_all_arrive_once(indexer: BatchIndexer, index: VectorIndex, tmp_path: Path) -> None:
    content = make.encoded(make.photo())
    photos = [one_photo(tmp_path, content, f"{number}.jpg") for number in range(2 * BATCH + 5)]
    outcomes = list(indexer.run(photos))
    assert [outcome.seen for outcome in outcomes] == [BATCH, BATCH, 5]
    assert index.count() == len(photos)


def test_an_accelerator_embeds_larger_groups(
    bundle: Bundle, index: VectorIndex, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, groups = Embedder(bundle, threads=1), []
    embed = embedder.embed
    monkeypatch.setattr(embedder, "embed", lambda images: groups.append(len(images)) or embed(images))
    for size in (4, 32):
        monkeypatch.setitem(PROVIDERS, "cpu", replace(PROVIDERS["cpu"], batch=size))
        with BatchIndexer(embedder, index, PhotoDecoder(SourcePolicy())) as indexer:
            assert run(indexer, list_photos(library))[:2] == (24, 24)
        index.delete([photo.id for photo in list_photos(library)])
    assert groups == [4] * 6 + [24]


def test_a_photo_listed_twice_counts_twice_and_is_one_point_with_the_last_label(
    indexer: BatchIndexer, index: VectorIndex, tmp_path: Path
) -> None:
    photo = one_photo(tmp_path, make.encoded(make.photo()))
    rows = [PhotoRef(photo.uri, "first"), PhotoRef(photo.uri, "last")]
    assert run(indexer, rows) == (2, 2, 0, {})
    assert index.labels() == {"last": 1}


def test_unchanged_photos_are_skipped_and_changed_ones_are_not(
    indexer: BatchIndexer, index: VectorIndex, tmp_path: Path
) -> None:
    library = make.library(tmp_path / "library", per_label=2)
    run(indexer, list_photos(library))
    before = {point.id: point.payload for point in index.scroll()}
    (library / "red" / "0.jpg").write_bytes(make.encoded(make.photo("blue", 9)))
    os.utime(library / "green" / "1.jpg", ns=(1, 1_000_000_001_000))
    assert run(indexer, list_photos(library)) == (6, 2, 4, {})
    after = {point.id: point.payload for point in index.scroll()}
    changed = {payload.uri.rpartition("/library/")[2] for photo, payload in after.items() if before[photo] != payload}
    assert changed == {"red/0.jpg", "green/1.jpg"}


def test_another_label_is_a_change(indexer: BatchIndexer, index: VectorIndex, library: Path) -> None:
    run(indexer, list_photos(library))
    assert run(indexer, list_photos(library, "none")) == (24, 24, 0, {})
    assert index.labels() == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "It is empty (0 bytes)."),
        (b"Dear diary, today I was a JPEG.", "not a photo of a known format"),
        (make.encoded(make.photo())[:900], "damaged or incomplete"),
    ],
    ids=["zero bytes", "text", "truncated"],
)
def test_a_bad_file_fails_alone(
    content: bytes, reason: str, indexer: BatchIndexer, index: VectorIndex, tmp_path: Path
) -> None:
    good = one_photo(tmp_path, make.encoded(make.photo()), "good.jpg")
    seen, indexed, _, failures = run(indexer, [one_photo(tmp_path, content), good])
    assert (seen, indexed) == (2, 1)
    assert reason in failures["x.jpg"]
    assert [point.id for point in index.scroll()] == [good.id]


def test_a_huge_png_is_refused_by_its_header(indexer: BatchIndexer, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * (30_000 * (30_000 // 8 + 1)), 9)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    assert len(png) < 250_000
    *_, failures = run(indexer, [one_photo(tmp_path, png, "huge.png")])
    assert "30000 × 30000 pixels" in failures["huge.png"]


def test_a_file_above_the_limit_fails_before_it_is_read(
    indexer: BatchIndexer, index: VectorIndex, tmp_path: Path
) -> None:
    """A sparse file, and members of an archive whose photos are listed with and without their size."""
    sparse = one_photo(tmp_path, b"")
    os.truncate(tmp_path / "x.jpg", 3_000_000_000)
    with zipfile.ZipFile(tmp_path / "zeros.zip", "w", zipfile.ZIP_DEFLATED) as file, file.open("1.jpg", "w") as member:
        for _ in range(201):
            member.write(bytes(1_000_000))
    (listed,) = list_photos(f"zip://::{tmp_path}/zeros.zip", policy=SourcePolicy(allow_urls=True))
    (outcome,) = indexer.run([sparse, listed, PhotoRef(listed.uri)])
    for failure, size in zip(outcome.failures, ("3,000,000,000", "201,000,000", "201,000,000"), strict=True):
        assert f"has {size} bytes, more than the 200,000,000 allowed" in failure.reason
        assert "LOOKALIKE_MAX_FILE_MB" in failure.reason
    assert index.count() == 0


def test_a_photo_without_an_embedding_fails_alone(indexer: BatchIndexer, index: VectorIndex, tmp_path: Path) -> None:
    """For uniform grey, the tests' network computes the zero vector, and normalizing that gives NaN."""
    grey = one_photo(tmp_path, make.encoded(Image.new("RGB", (64, 64), (128, 128, 128)), "PNG"), "grey.png")
    good = one_photo(tmp_path, make.encoded(make.photo()), "good.jpg")
    *counted, failures = run(indexer, [grey, good])
    assert counted == [2, 1, 0]
    assert "no embedding" in failures["grey.png"]
    assert [point.id for point in index.scroll()] == [good.id]


def test_anything_but_a_regular_file_fails(indexer: BatchIndexer, tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    names = ["folder.jpg", "pipe.jpg", "circle.jpg", "dangling.jpg", "gone.jpg"]
    *_, failures = run(indexer, [PhotoRef(uri_of(tmp_path / name)) for name in names])
    assert "is a folder" in failures["folder.jpg"]
    assert "is not a regular file" in failures["pipe.jpg"]
    assert "symbolic links" in failures["circle.jpg"]
    assert "No such file" in failures["dangling.jpg"]
    assert "No such file" in failures["gone.jpg"]


def test_an_unreachable_url_fails(indexer: BatchIndexer) -> None:
    (outcome,) = indexer.run([PhotoRef("http://127.0.0.1:1/photo.jpg")])
    assert "http://127.0.0.1:1/photo.jpg can't be read" in outcome.failures[0].reason


@pytest.mark.parametrize(
    "name", [b"a b.jpg", b'"quoted".jpg', b"it's.jpg", b"new\nline.jpg", b"caf\xe9.jpg", b"%41.jpg"]
)
def test_any_file_name_is_indexed(name: bytes, indexer: BatchIndexer, index: VectorIndex, tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), name)
    try:
        Path(os.fsdecode(path)).write_bytes(make.encoded(make.photo()))
    except OSError as error:
        pytest.skip(f"this file system refuses the name: {error.strerror}")
    assert run(indexer, list_photos(tmp_path)) == (1, 1, 0, {})
    (point,) = index.scroll()
    assert os.fsencode(PhotoRef(point.payload.uri).path) == path
    assert display(PhotoRef(point.payload.uri).path).isprintable()
    assert run(indexer, list_photos(tmp_path)) == (1, 0, 1, {})


def test_a_photo_that_changes_once_while_it_is_read_is_read_again(
    indexer: BatchIndexer, index: VectorIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = one_photo(tmp_path, make.encoded(make.photo("red")))
    final = make.encoded(make.photo("blue"))
    _change_after_reading(monkeypatch, [final])
    assert run(indexer, [photo]) == (1, 1, 0, {})
    assert index.get([photo.id])[photo.id].sha256 == hashlib.sha256(final).hexdigest()


def test_a_photo_that_keeps_changing_while_it_is_read_fails(
    indexer: BatchIndexer, index: VectorIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = one_photo(tmp_path, make.encoded(make.photo("red")))
    _change_after_reading(monkeypatch, [make.encoded(make.photo("blue")), make.encoded(make.photo("green", 7))])
    *_, failures = run(indexer, [photo])
    assert "changes while it is read" in failures["x.jpg"]
    assert index.count() == 0


def _change_after_reading(monkeypatch: pytest.MonkeyPatch, contents: list[bytes]) -> None:
    """Another process writes the file between reading it and checking its status again."""

    def read_then_change(photo: PhotoRef, max_bytes: int) -> bytes:
        data = read_photo(photo, max_bytes)
        if contents:
            photo.path.write_bytes(contents.pop(0))
        return data

    monkeypatch.setattr(indexer.batch, "read_photo", read_then_change)
