"""The search page as a browser without scripts gets it."""

import io
import re
from html import unescape
from pathlib import Path

import make
import numpy as np
import pytest
from flask.testing import FlaskClient
from serving import Site, site
from werkzeug.test import TestResponse

from retrieval.bundle import Bundle
from retrieval.photos import PhotoRef
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.page import _decode_int8, _encode_int8

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


def upload(client: FlaskClient, data: bytes) -> TestResponse:
    return client.post("/", data={"image": (io.BytesIO(data), "photo.jpg")}, headers=BROWSER)


def cards(page: TestResponse) -> list[str]:
    """The ids of the photos in the page's grid."""
    return re.findall(r'class="card" href="/\?id=([0-9a-f-]+)"', page.text)


def links(page: TestResponse, kind: str) -> list[str]:
    return [unescape(link) for link in re.findall(rf'class="{kind}" href="([^"]+)"', page.text)]


def test_it_starts_with_some_indexed_photos(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "24 indexed photos" in page.text
    assert len(cards(page)) == 18 and set(cards(page)) <= {str(photo.id) for photo in photos}


def test_a_plain_form_shows_the_nearest_photos(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = upload(client, photos[4].path.read_bytes())
    assert page.status_code == 200 and cards(page)[0] == str(photos[4].id)
    assert 'src="data:image/jpeg;base64,' in page.text
    assert f'<strong dir="auto">{photos[4].label}</strong>' in page.text


def test_the_address_of_an_upload_finds_the_same_again(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = upload(client, photos[4].path.read_bytes())
    (address,) = re.findall(r'data-address="([^"]+)"', page.text)
    assert cards(client.get(unescape(address))) == cards(page)


def test_an_address_holds_an_embedding_almost_exactly() -> None:
    vector = np.random.default_rng(0).normal(size=128).astype(np.float32)
    again = _decode_int8(_encode_int8(vector))
    cosine = vector @ again / np.linalg.norm(vector) / np.linalg.norm(again)
    assert cosine > 0.9999 and len(_encode_int8(vector)) == 171


def test_a_link_searches_from_a_photo_and_filters(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}")
    assert len(cards(page)) == 23 and str(photos[0].id) not in cards(page)
    red = next(link for link in links(page, "chip") if link.endswith("label=red"))
    filtered = client.get(red)
    assert set(cards(filtered)) == {str(photo.id) for photo in photos if photo.label == "red"}
    both = next(link for link in links(filtered, "chip") if link.endswith("label=red&label=blue"))
    assert len(cards(client.get(both))) == 15
    assert red not in links(filtered, "chip"), "the chosen label's link takes it away again"


def test_more_can_be_shown(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}&k=6")
    (more,) = links(page, "button quiet")
    assert len(cards(page)) == 6 and cards(client.get(more))[:6] == cards(page) and len(cards(client.get(more))) == 12


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/?id=00000000-0000-0000-0000-000000000000", 404, "There is no indexed photo"),
        ("/?id=7", 422, "id: "),
        ("/?k=0", 422, "k: "),
        ("/?vector=AAAA&model=vgg16-000000000000", 422, "made with the model vgg16-000000000000"),
        ("/?vector=AAAA&model={model}", 422, "holds vectors of 16 numbers"),
        ("/?vector=A&model={model}", 422, "This link is incomplete"),
        ("/?vector=%00%ff&model={model}", 422, "This link is incomplete"),
    ],
)
def test_a_wrong_address_is_explained(
    client: FlaskClient, searcher: Searcher, address: str, status: int, says: str
) -> None:
    page = client.get(address.format(model=searcher.index.model), headers=BROWSER)
    assert page.status_code == status and page.mimetype == "text/html"
    assert 'role="alert"' in page.text and says in page.text


def test_a_label_nobody_has_is_not_found(client: FlaskClient, photos: list[PhotoRef]) -> None:
    assert client.get(f"/?id={photos[0].id}&label=violet", headers=BROWSER).status_code == 404


@pytest.mark.parametrize(("data", "says"), [(b"", "No photo was sent"), (b"<html>", "not a photo of a known format")])
def test_a_wrong_upload_is_explained(client: FlaskClient, data: bytes, says: str) -> None:
    page = upload(client, data)
    assert page.status_code == 422 and says in page.text and "Traceback" not in page.text


def test_an_empty_index_says_what_to_do(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with site(settings, bundle, tmp_path / "empty") as built:
        assert "lookalike index FOLDER" in built.client.get("/").text
        page = upload(built.client, make.encoded(make.photo()))
        assert page.status_code == 200 and "Nothing found" in page.text


def test_a_label_is_text_whatever_it_holds(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    library = make.library(tmp_path / "labels", 3)
    (library / "red").rename(library / '"><script>alert(1)<')
    with site(settings, bundle, library) as built:
        page = built.client.get(f"/?id={built.photos[0].id}")
        assert page.status_code == 200 and "<script>alert" not in page.text
        assert "&lt;script&gt;alert" in page.text
        chosen = next(link for link in links(page, "chip") if "script" in link)
        assert len(cards(built.client.get(chosen))) >= 2


def test_many_labels_are_folded_away(own: Site) -> None:
    points = list(own.searcher.index.scroll())
    for number, point in enumerate(points):
        object.__setattr__(point.payload, "label", f"kind {number:02}")
    own.searcher.index.upsert(points)
    page = own.client.get(f"/?id={points[0].id}&label=kind 23")
    assert "<details>" in page.text
    assert page.text.index("kind 23</span>") < page.text.index("<details>"), "a chosen label is always in sight"


def test_the_page_is_light(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}")
    assets = ["icon.svg", "page.css", "page.js", "upload.js", "preview.js"]
    weight = len(page.data) + sum(len(client.get(f"/static/{name}").data) for name in assets)
    assert weight <= 100_000
    assert all(f"/static/{name}" in page.text for name in assets[:3])


def test_nothing_comes_from_elsewhere(client: FlaskClient, photos: list[PhotoRef]) -> None:
    for page in (client.get("/"), client.get(f"/?id={photos[0].id}")):
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page.text)
        assert not re.findall(r"<script(?![^>]* src=)|\son[a-z]+=", page.text)


def test_every_photo_has_its_room_before_it_comes(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}")
    images = re.findall(r"<img[^>]+>", page.text)
    assert len(images) == 24 and all(re.search(r'width="120" height="90"', image) for image in images)
