"""What the world uploads: bombs, files that lie about what they are, photos from phones, photos that are gone."""

import io
import socket
import struct
import threading
import zlib
from dataclasses import replace
from pathlib import Path

import make
import pytest
from flask.testing import FlaskClient
from PIL import Image
from serving import Site, site
from werkzeug.test import TestResponse

from retrieval.bundle import Bundle
from retrieval.index import Point
from retrieval.settings import Settings
from web.app import create_app

SEARCH = "/api/v1/search"


def search(client: FlaskClient, data: bytes, name: str = "photo.jpg") -> TestResponse:
    return client.post(SEARCH, data={"image": (io.BytesIO(data), name)})


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG file with a header of our own making."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


BOMBS = {
    "a hundred gigapixels in a header": png(400_000, 250_000, b""),
    "fewer pixels than the header says": png(8_000, 8_000, zlib.compress(bytes(1_000))),
    "a GIF of 65,535 squared": b"GIF89a" + struct.pack("<HH", 65535, 65535) + b"\x80\x00\x00" + bytes(20),
    "a JPEG of 65,500 squared": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xdc\xff\xdc\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01",
    "a TIFF whose directory is itself": b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 0) + struct.pack("<I", 8),
}
LIES = {
    "nothing": b"",
    "HTML": b"<!doctype html><script>alert(1)</script>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://127.0.0.1/"/></svg>',
    "a video": b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(4096),
    "a PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "a ZIP": b"PK\x03\x04" + bytes(100),
    "a pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
}


@pytest.mark.parametrize("data", [*BOMBS.values(), *LIES.values()], ids=[*BOMBS, *LIES])
def test_what_is_no_photo_is_refused(client: FlaskClient, data: bytes) -> None:
    answer = search(client, data)
    assert answer.status_code == 422 and answer.get_json()["remedy"]


def test_what_follows_the_photo_in_its_file_is_not_unpacked(client: FlaskClient) -> None:
    assert search(client, png(10, 10, zlib.compress(bytes(200_000_000)))).status_code == 200


def test_a_phones_forty_megapixels_are_searched_upright(client: FlaskClient) -> None:
    width, height = 7296, 5472
    scene = make.photo("blue", 3, (width // 16, height // 16))
    sideways = Image.Exif()
    sideways[0x0112] = 6  # the camera was held upright
    upright, stored = make.encoded(scene), scene.transpose(Image.Transpose.ROTATE_90).resize((height, width))
    found = search(client, make.encoded(stored, quality=80, exif=sideways)).get_json()
    expected = search(client, upright).get_json()
    assert [result["id"] for result in found["results"][:3]] == [result["id"] for result in expected["results"][:3]]


def test_an_unpacking_body_is_not_unpacked(client: FlaskClient) -> None:
    bomb = zlib.compress(bytes(100_000_000))
    answer = client.post(SEARCH, data=bomb, headers={"Content-Type": "application/json", "Content-Encoding": "deflate"})
    assert answer.status_code == 400


def test_deep_and_long_json_is_refused(client: FlaskClient) -> None:
    long = b'{"vector": [' + b"1," * 70_000 + b"1]}"
    for body in (b"[" * 100_000, b'{"id": ' * 10_000, b'{"k": ' + b"9" * 5_000 + b"}", long):
        assert client.post(SEARCH, data=body, content_type="application/json").status_code in (400, 422)


@pytest.mark.parametrize("field", ["image", "image_url", "url", "uri", "id", "vector"])
def test_the_server_fetches_nothing_that_a_client_names(client: FlaskClient, field: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/photo.jpg"
        assert client.post(SEARCH, json={field: url}).status_code == 422
        assert client.post(SEARCH, data={field: url}, content_type="multipart/form-data").status_code == 422
        assert client.get("/", query_string={field: url}).status_code in (200, 422)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/a.jpg", "file:///etc/passwd", "file:///dev/zero", "data:,a"])
def test_an_indexed_address_opens_nothing_beyond_the_library(own: Site, uri: str) -> None:
    """A manifest can name anything; what is shown of it lies in the library, and is a photo."""
    photo = own.photos[0]
    payload = own.searcher.index.get([photo.id])[photo.id]
    vector = own.searcher.index.vectors([photo.id])[photo.id]
    own.searcher.index.upsert([Point(photo.id, vector, replace(payload, uri=uri))])
    settings = own.settings.model_copy(update={"library_roots": (photo.path.parents[1],)})
    client = create_app(settings, own.store, own.searcher).test_client()
    for part in ("file", "thumbnail"):
        answer = client.get(f"/api/v1/images/{photo.id}/{part}")
        assert answer.status_code == 404 and "root:" not in answer.text


def test_scripts_in_labels_and_names_are_text(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    script = "<script>alert(1)<\\script>"
    folder = tmp_path / "library" / script
    folder.mkdir(parents=True)
    for number in range(3):
        make.photo("red", number).save(folder / f'"><img src=x onerror=alert({number})>.png')
    with site(settings, bundle, tmp_path / "library") as built:
        client, photo = built.client, built.photos[0]
        for path in ("/", f"/?id={photo.id}", f"/photo/{photo.id}", f"/?id={photo.id}&label={script}", f"/{script}"):
            page = client.get(path, headers={"Accept": "text/html"}).text
            assert "<script>alert" not in page and "<img src=x" not in page, path
        shown = client.get(f"/api/v1/images/{photo.id}")
        assert shown.get_json()["label"] == script and shown.mimetype == "application/json"
        assert client.get(f"/api/v1/images/{photo.id}/file").headers["X-Content-Type-Options"] == "nosniff"


def test_a_photo_gone_from_disk_is_still_a_result(own: Site) -> None:
    own.photos[3].path.unlink()
    found = own.client.get(f"/api/v1/images/{own.photos[0].id}/similar?k=100").get_json()["results"]
    gone = next(result for result in found if result["id"] == str(own.photos[3].id))
    assert own.client.get(gone["thumbnail_url"]).status_code == 404
    assert own.client.get("/", query_string={"id": gone["id"]}).status_code == 200


def test_many_clients_at_once_are_each_answered(shared: Site) -> None:
    data = make.encoded(make.photo("green", 5))
    statuses: list[int] = []

    def ask() -> None:
        client = shared.app.test_client()
        statuses.extend(search(client, data).status_code for _ in range(5))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80
