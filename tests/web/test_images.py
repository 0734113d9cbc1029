"""`/api/v1/images/{id}`, its file and its thumbnail, and `/api/v1/labels`."""

import errno
import io
import json
import os
import uuid
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import make
import pillow_heif
import pytest
from flask.testing import FlaskClient
from PIL import Image
from serving import Site, site

from indexer.batch import BatchIndexer
from retrieval.bundle import Bundle
from retrieval.photo_ref import PhotoRef
from retrieval.settings import Settings
from web import photo_files
from web.app import create_app
from web.photo_files import PhotoFiles


def url(photo: PhotoRef, part: str = "") -> str:
    return f"/api/v1/images/{photo.id}{part}"


def test_labels_come_with_counts(client: FlaskClient) -> None:
    assert client.get("/api/v1/labels").get_json() == {
        "labels": [{"label": label, "count": 8} for label in ("blue", "green", "red")],
        "total": 3,
    }


def test_a_photo_is_described(client: FlaskClient, photos: list[PhotoRef]) -> None:
    described = client.get(url(photos[0])).get_json()
    assert (described["id"], described["uri"], described["label"]) == (
        str(photos[0].id),
        photos[0].uri,
        photos[0].label,
    )
    assert (described["width"], described["height"]) == (120, 90)
    assert described["bytes"] == photos[0].path.stat().st_size
    assert client.get(described["image_url"]).status_code == 200
    assert client.get(described["thumbnail_url"]).status_code == 200


@pytest.mark.parametrize("part", ["", "/similar", "/file", "/thumbnail"])
@pytest.mark.parametrize("name", [str(uuid.UUID(int=0)), "7", "..", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "a%00b"])
def test_an_unknown_photo_is_not_found(client: FlaskClient, part: str, name: str) -> None:
    response = client.get(f"/api/v1/images/{name}{part}")
    assert response.status_code == 404 and response.mimetype == "application/problem+json"


def test_the_file_is_the_file(client: FlaskClient, photos: list[PhotoRef]) -> None:
    response = client.get(url(photos[0], "/file"))
    assert response.data == photos[0].path.read_bytes()
    assert response.mimetype == "image/jpeg"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "attachment" not in response.headers["Content-Disposition"]


@pytest.mark.parametrize("part", ["/file", "/thumbnail"])
def test_an_unchanged_file_is_not_sent_again(own: Site, part: str) -> None:
    client, photos = own.client, own.photos
    first = client.get(url(photos[0], part))
    assert "private" in first.headers["Cache-Control"] and "max-age" in first.headers["Cache-Control"]
    again = client.get(url(photos[0], part), headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304 and not again.data
    photos[0].path.write_bytes(make.encoded(make.photo("blue", 77)))
    changed = client.get(url(photos[0], part), headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200 and changed.data != first.data


def test_a_thumbnail_is_small_and_kept(own: Site) -> None:
    photo = own.photos[0]
    make.photo("red", 1, (1600, 400)).save(photo.path)
    thumbnail = own.client.get(url(photo, "/thumbnail"))
    assert thumbnail.mimetype == "image/jpeg"
    assert Image.open(io.BytesIO(thumbnail.data)).size == (320, 80)
    (kept,) = (own.settings.home / "cache").rglob("*.jpg")
    assert kept.read_bytes() == thumbnail.data
    assert own.client.get(url(photo, "/thumbnail")).data == thumbnail.data


def test_a_thumbnail_stands_upright(own: Site) -> None:
    photo = own.photos[0]
    turned = Image.Exif()
    turned[0x0112] = 6
    make.photo("red", 1, (640, 320)).save(photo.path, exif=turned)
    assert Image.open(io.BytesIO(own.client.get(url(photo, "/thumbnail")).data)).size == (160, 320)


def test_the_cache_of_thumbnails_stays_small(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo_files, "THUMBNAIL", replace(photo_files.THUMBNAIL, folder_limit=1))
    files = PhotoFiles(own.settings, own.searcher.decoder, nullcontext())
    for _ in range(2):
        for photo in own.photos:
            assert files.thumbnail(files.original(photo.uri)).startswith(b"\xff\xd8")
    folders = list((own.settings.home / "cache" / "thumbnails").iterdir())
    assert all(len(list(folder.iterdir())) == 1 for folder in folders)


@pytest.mark.parametrize(("name", "format"), [("photo.heic", "HEIF"), ("photo.tif", "TIFF")])
def test_the_page_shows_a_jpeg_of_a_photo_that_browsers_do_not_display(own: Site, name: str, format: str) -> None:
    pillow_heif.register_heif_opener()
    path = own.photos[0].path.with_name(name)
    path.write_bytes(make.encoded(make.photo("red", 1, (1000, 400)), format))
    photo = PhotoRef(path.as_uri(), "red")
    with BatchIndexer(own.searcher.embedder, own.searcher.index, own.searcher.decoder) as indexer:
        list(indexer.run([photo]))
    address = url(photo, "/rendition")
    assert address in own.client.get(f"/photo/{photo.id}").text
    rendition = own.client.get(address)
    assert rendition.mimetype == "image/jpeg" and rendition.headers["ETag"]
    assert Image.open(io.BytesIO(rendition.data)).size == (1000, 400)
    assert (own.settings.home / "cache" / "renditions").is_dir()
    assert own.client.get(url(photo, "/file")).headers["Content-Disposition"].startswith("attachment")


def test_a_full_disk_costs_neither_answer_nor_rubbish(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, *_: object) -> int:
        with self.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        assert own.client.get(url(own.photos[0], "/thumbnail")).status_code == 200
    assert not [path for path in (own.settings.home / "cache").rglob("*") if path.is_file()]


@pytest.mark.parametrize("part", ["/file", "/thumbnail"])
def test_a_photo_gone_from_disk_is_not_found(own: Site, part: str) -> None:
    photo = own.photos[0]
    photo.path.unlink()
    response = own.client.get(url(photo, part))
    assert response.status_code == 404 and "no longer on disk" in response.get_json()["detail"]
    photo.path.mkdir()
    assert own.client.get(url(photo, part)).status_code == 404
    photo.path.rmdir()
    os.mkfifo(photo.path)
    assert own.client.get(url(photo, part)).status_code == 404


def test_a_damaged_photo_has_no_thumbnail(own: Site) -> None:
    own.photos[0].path.write_bytes(b"<script>alert(1)</script>")
    assert own.client.get(url(own.photos[0], "/thumbnail")).status_code == 422
    shown = own.client.get(url(own.photos[0], "/file"))
    assert (shown.mimetype, shown.headers["X-Content-Type-Options"]) == ("image/jpeg", "nosniff")


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "scan.tiff", 'quote".exe', "na\nme.js"])
def test_what_a_browser_must_not_show_is_a_download(
    settings: Settings, bundle: Bundle, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    make.photo().save(folder / "photo.png")
    (folder / "photo.png").rename(folder / name)
    manifest = tmp_path / "photos.jsonl"
    manifest.write_text(json.dumps({"path": f"odd/{name}"}))
    with site(settings, bundle, manifest) as built:
        (photo,) = built.photos
        response = built.client.get(url(photo, "/file"))
    assert response.mimetype == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert "\n" not in response.headers["Content-Disposition"]


@pytest.mark.parametrize("part", ["/file", "/thumbnail"])
def test_only_the_library_is_given_out(own: Site, part: str) -> None:
    red, link = (photo for photo in own.photos if photo.label == "red" and photo.path.name in ("0.jpg", "1.jpg"))
    blue = next(photo for photo in own.photos if photo.label == "blue")
    link.path.unlink()
    link.path.symlink_to(blue.path)
    inside = own.settings.model_copy(update={"library_roots": (red.path.parent,)})
    client = create_app(inside, own.store, own.searcher).test_client()
    assert client.get(url(red, part)).status_code == 200
    assert client.get(url(blue, part)).status_code == 404
    assert client.get(url(link, part)).status_code == 404
    assert client.get(url(blue)).status_code == 200
